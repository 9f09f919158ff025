"""The files in the folder of a run: its worker writes them, and the present daemon, or the next one, reads them.

Nothing here is flushed to the disk: a killed process loses nothing that it has written, and a power cut ends the run
anyway.
"""

from __future__ import annotations

import struct

import msgspec

from sandbox_actors.protocol.faults import Fault
from sandbox_actors.protocol.rows import Point
from sandbox_actors.protocol.worker_requests import Outcome

RESULT = "result"
"""File of an `Ended`. It is written in one step when the run ends."""

JOURNAL = "journal"
"""File of the points that the component has watched in its own process: each entry is a `LENGTH` and as many bytes."""

LENGTH = struct.Struct("<I")


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run has ended: with an outcome, or with a fault."""

    outcome: Outcome | None = None
    fault: Fault | None = None


encode_kept = msgspec.msgpack.Encoder().encode
decode_ended = msgspec.msgpack.Decoder(Ended).decode
decode_points = msgspec.msgpack.Decoder(list[Point]).decode
