"""The interface between a gateway and its transport: a `Router` accepts connections, a `Connection` is one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sandbox_actors.errors import SandboxError
from sandbox_actors.protocol.faults import fault_of
from sandbox_actors.protocol.frames import PROTOCOL_VERSION, TurnedAway, encode
from sandbox_actors.version import __version__

HELLO_LIMIT = 4_096
"""Bytes of a frame from a peer that has not been admitted. A greeting has 150."""

GREETING_TIMEOUT = 10.0
"""Seconds after which a new connection is closed unless its peer has been admitted."""


class PeerGone(SandboxError):
    """The peer of a frame is not connected any more, or its queue is full because it does not read."""

    code = "peer-gone"


class Connection(Protocol):
    """One connection. It is closed after `GREETING_TIMEOUT` seconds unless its peer is admitted."""

    @property
    def origin(self) -> str:
        """The peer as the transport knows it, for a log: a pid, or the name of a key."""

    def admit(self) -> None:
        """Keep the connection open, and accept frames of up to MAX_FRAME bytes."""

    def send(self, frame: bytes) -> None:
        """Send one frame, or queue it; never blocks. Raises PeerGone if it cannot be delivered."""

    def cut(self) -> None:
        """End the connection. Frames that the kernel has not taken yet are lost."""


OnFrame = Callable[[Connection, bytes], None]
OnClosed = Callable[[Connection], None]


class Router(Protocol):
    """Accepts connections."""

    async def run(self, on_frame: OnFrame, on_closed: OnClosed) -> None:
        """Serve until cancelled, calling `on_frame` for each frame, and `on_closed` once for each closed connection."""


def turned_away(error: Exception) -> bytes:
    """The frame that informs a peer why its connection is closed."""
    return encode(TurnedAway(fault=fault_of(error), protocol=PROTOCOL_VERSION, version=__version__))
