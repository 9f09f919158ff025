"""Which daemons of one home have ended by an error of their own lately: for the next one, and for clients."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from sandbox_actors.files import write_whole

CRASH_SECONDS = 60.0
"""What fails by an error of the daemon is tried again; if it fails again within so many seconds, it is given up."""


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    """`time` in seconds since the epoch."""

    time: float
    pid: int
    error: str


def recent_crashes(record: Path) -> list[Crash]:
    """The crashes in the file `record` that are less than `CRASH_SECONDS` old; none if it cannot be read."""
    try:
        crashes = msgspec.json.decode(record.read_bytes(), type=list[Crash])
    except (OSError, msgspec.MsgspecError, ValueError):
        return []
    return [each for each in crashes if 0 <= time.time() - each.time < CRASH_SECONDS]


def add_crash(record: Path, crash: Crash) -> None:
    """Raises OSError."""
    write_whole(record, msgspec.json.encode([*recent_crashes(record), crash]), mode=0o600)
