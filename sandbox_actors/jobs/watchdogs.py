"""What is looked at while a job runs: the memory it holds, since the kernel's OOM killer may end the wrong process, and
whether its process was stopped by a signal, since a stopped process lives, does nothing, and reports nothing."""

from __future__ import annotations

from pathlib import Path

import psutil
import trio

from sandbox_actors.errors import SandboxError

POLL = 0.25
"""Seconds between two looks."""

_threads = trio.CapacityLimiter(8)


async def until_over(pid: int, limit: int) -> int:
    """Wait until the process and all below it hold more than `limit` bytes; the bytes they hold then."""
    while True:
        held = await trio.to_thread.run_sync(resident, pid, limiter=_threads)
        if held > limit:
            return held
        await trio.sleep(POLL)


def resident(pid: int) -> int:
    """Resident bytes of a process and of all below it; what they share counts for each."""
    total = 0
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in tree:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue  # ended meanwhile
    return total


LAST_LINES = 20


class MemoryExceeded(SandboxError):
    """A job held more memory than its `resources` allow."""

    code = "memory"


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.0f} MiB"


STOPPED_POLL = 1.0
LOOKS = 4
"""Seconds between two looks, and how many in a row have to find a process stopped. Time in which this process itself
stood still, as it does when the machine sleeps, counts as one look."""


async def until_stopped(pid: int) -> None:
    """Wait until the process has been stopped for some seconds. A debugger's stops do not count."""
    found = 0
    while found < LOOKS:
        await trio.sleep(STOPPED_POLL)
        found = found + 1 if is_stopped(pid) else 0


def is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "T"
