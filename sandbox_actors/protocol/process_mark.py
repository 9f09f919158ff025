"""The mark that every process of a worker carries in its environment, even if it has left the session and the tree."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path

MARK = "SANDBOX_PROCESS"
"""Name of the environment variable."""

EXEC_LOOKS = 4
EXEC_PAUSE = 0.002
"""How often, and with which pause in seconds, an empty environment is read again."""

KERNEL_THREAD = 0x00200000
"""A flag in /proc/PID/stat."""


def find_marked(names: Collection[str]) -> Iterator[int]:
    """The pids of all processes that carry one of these marks. Those of other users cannot be read."""
    marks = {f"{MARK}={name}".encode() for name in names}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if not marks.isdisjoint(_environ(entry).split(b"\0")):
                    yield int(entry.name)
            except OSError:
                continue  # it has just ended, or is another user's


def _environ(entry: Path) -> bytes:
    """The environment of a process. It is empty for a moment during exec, so it is read again. Raises OSError."""
    for _ in range(EXEC_LOOKS):
        environ = (entry / "environ").read_bytes()
        if environ or not _runs_program(entry):
            return environ
        time.sleep(EXEC_PAUSE)
    return b""


def _runs_program(entry: Path) -> bool:
    """False for a zombie and for a kernel thread, which have no environment. Raises OSError."""
    fields = (entry / "stat").read_text().rpartition(")")[2].split()
    return fields[0] not in "ZX" and not int(fields[6]) & KERNEL_THREAD
