"""Watchdogs of a run: of the memory it holds, since the kernel's OOM killer may end the wrong process, and of a stop by
a signal, since a stopped process lives, does nothing, and reports nothing."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import psutil
import trio

from sandbox_actors.errors import SandboxError, WorkerLost
from sandbox_actors.files import tail
from sandbox_actors.system.child_process import ChildProcess

LAST_LINES = 20
"""Lines of a run's log that are shown with the error that ended it."""

MEMORY_POLL = 0.25
"""Seconds between two looks at the memory of a run."""

STOPPED_POLL = 1.0
STOPPED_LOOKS = 4
"""Seconds between two looks, and how many in a row have to find a process stopped. Time in which this process itself
stood still, as it does when the machine sleeps, counts as one look."""

T = TypeVar("T")

_threads = trio.CapacityLimiter(8)


class MemoryExceeded(SandboxError):
    """A job held more memory than its `resources` allow."""

    code = "memory"


async def guard(
    child: ChildProcess, worker: str, log: Path, limit: int | None, outcome: Callable[[], Awaitable[T]]
) -> T:
    """Wait for `outcome`, and kill the process if it is stopped by a signal, or holds over `limit` bytes together with
    all that it has started. Raises MemoryExceeded, WorkerLost, and what `outcome` raises."""
    answers, failures = list[T](), list[SandboxError]()

    async def ask() -> None:
        try:
            answers.append(await outcome())
        except SandboxError as error:
            failures.append(error)
        nursery.cancel_scope.cancel()

    async def keep_within(limit: int) -> None:
        held = await until_over(child.pid, limit)
        last = tail(log, LAST_LINES)
        give_up(MemoryExceeded(f"held {_mib(held)}, more than its limit of {_mib(limit)}\n{last}".rstrip()))

    async def keep_running() -> None:
        await until_stopped(child.pid)
        give_up(WorkerLost(f"worker {worker} (pid {child.pid}) was stopped (SIGSTOP), and so was ended"))

    def give_up(error: SandboxError) -> None:
        failures.append(error)
        child.signal(signal.SIGKILL)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(keep_running)
        if limit is not None:
            nursery.start_soon(keep_within, limit)
    for failure in failures:
        raise failure
    return answers[0]


async def until_over(pid: int, limit: int) -> int:
    """Wait until the process and all below it hold more than `limit` bytes; the bytes they hold then."""
    while True:
        held = await trio.to_thread.run_sync(resident, pid, limiter=_threads)
        if held > limit:
            return held
        await trio.sleep(MEMORY_POLL)


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


async def until_stopped(pid: int) -> None:
    """Wait until the process has been stopped for some seconds. A debugger's stops do not count."""
    found = 0
    while found < STOPPED_LOOKS:
        await trio.sleep(STOPPED_POLL)
        found = found + 1 if is_stopped(pid) else 0


def is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "T"


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.0f} MiB"
