"""What lies in the folder of a run: a worker writes it, whichever daemon there is reads it.

Nothing here is flushed to the disk: a process that is killed loses nothing of what it has written, and a power cut
ends the run itself.
"""

from __future__ import annotations

import struct

import msgspec

from sandbox_actors.protocol.faults import Fault
from sandbox_actors.protocol.rows import Point
from sandbox_actors.protocol.worker_requests import Outcome

RESULT = "result"
"""File of an `Ended`, there as soon as the run has ended, and never in part."""

JOURNAL = "journal"
"""File of what the component has watched in its own process: entries of `LENGTH` and so many bytes of points."""

LENGTH = struct.Struct("<I")


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run has ended: with an outcome, or with a fault."""

    outcome: Outcome | None = None
    fault: Fault | None = None


encode_kept = msgspec.msgpack.Encoder().encode
decode_ended = msgspec.msgpack.Decoder(Ended).decode
decode_points = msgspec.msgpack.Decoder(list[Point]).decode
