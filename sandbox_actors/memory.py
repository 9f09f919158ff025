"""The memory that a job may use: looked at while it runs, since an operating system ends the wrong process."""

from __future__ import annotations

import psutil
import trio

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
