"""The mark that every process of a worker carries, even if it has left the session and the tree.

It is carried twice, because a process inherits both: as a variable of its environment, and as a number in a resource
limit that has no effect. `env -i`, `setsid` and any number of forks leave the limit as it is, and so does the death of
the process that started it, with the death of the daemon after it.

What failed: a parent that adopts orphans (PR_SET_CHILD_SUBREAPER). Those of a worker that is killed reach a parent that
cannot know whose they were, those of a worker that a later daemon has adopted reach no parent of ours, and a worker
cannot reap the ones that it gets without taking exit statuses from its component. A control group for each worker can
be made only by root or in a delegated subtree, and must be recorded for the next daemon to find and remove. Not
guaranteed: a process that has cleared its environment and also changed its limits, as `su` may do, or that forks
without pause, may not be found.
"""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

MARK = "SANDBOX_PROCESS"
"""Name of the environment variable."""

_LIMIT = resource.RLIMIT_RTTIME
"""Microseconds that a process with a real-time schedule may run without a pause: a marked one, 142 years or more."""

_SMALLEST = 2**52

EXEC_LOOKS = 4
EXEC_PAUSE = 0.002
"""How often, and with which pause in seconds, an empty environment is read again."""

KERNEL_THREAD = 0x00200000
"""A flag in /proc/PID/stat."""


def mark_limit(pid: int, name: str) -> None:
    """Mark a process, which must not have started others yet, in its limits. Its environment is that it was started
    with. Where the system does not allow it, that has to do."""
    with suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, _LIMIT)
        resource.prlimit(pid, _LIMIT, (_number(name), hard))


def find_marked(names: Collection[str]) -> Iterator[int]:
    """The pids of all processes that carry one of these marks. Those of other users cannot be read."""
    marks = {f"{MARK}={name}".encode() for name in names}
    numbers = {_number(name) for name in names}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if not marks.isdisjoint(_environ(entry).split(b"\0")) or _has_limit(entry, numbers):
                    yield int(entry.name)
            except OSError:
                continue  # it has just ended, or is another user's


def _number(name: str) -> int:
    return _SMALLEST + int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def _has_limit(entry: Path, numbers: Collection[int]) -> bool:
    """Whether one of the numbers is the limit of a process that runs. Raises OSError."""
    return resource.prlimit(int(entry.name), _LIMIT)[0] in numbers and _runs_program(entry)


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
