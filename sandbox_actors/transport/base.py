"""What a gateway sees of a connection, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sandbox_actors.errors import SandboxError

HELLO_LIMIT = 4_096
"""Bytes of a frame from a peer that has not been let in. A greeting has 150."""

GREETING_TIMEOUT = 10.0
"""Seconds in which a new connection has to be let in."""


class PeerGone(SandboxError):
    """The peer that a frame was for is not connected any more, or has not read for so long that its queue is full."""

    code = "peer-gone"


class Wire(Protocol):
    """One connection. A new one is heard for `GREETING_TIMEOUT` seconds, unless it is let in."""

    @property
    def origin(self) -> str:
        """Who is at the other end, as far as the carrier knows, for a log: a pid, or the name of a key."""

    def admit(self) -> None:
        """The peer may stay, and send frames of full size."""

    def send(self, frame: bytes) -> None:
        """Hand one frame over, without waiting. Raises PeerGone where it can't be delivered."""

    def cut(self) -> None:
        """End the connection, after what was handed over before is sent if that takes no waiting."""


Deliver = Callable[[Wire, bytes], None]
Lost = Callable[[Wire], None]


class Router(Protocol):
    """Where connections come from."""

    async def run(self, deliver: Deliver, lost: Lost) -> None:
        """Serve for ever, calling `deliver(wire, frame)` for each frame, and `lost(wire)` once a connection is over."""
