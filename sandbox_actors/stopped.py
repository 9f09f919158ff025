"""Processes that were stopped by a signal: they live, and do nothing, and nothing else tells."""

from __future__ import annotations

from pathlib import Path

import trio

POLL = 1.0
LOOKS = 4
"""Seconds between two looks, and how many in a row have to find a process stopped. Time in which this process itself
stood still, as it does when the machine sleeps, counts as one look."""


async def until_stopped(pid: int) -> None:
    """Wait until the process has been stopped for some seconds. A debugger's stops do not count."""
    found = 0
    while found < LOOKS:
        await trio.sleep(POLL)
        found = found + 1 if is_stopped(pid) else 0


def is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "T"
