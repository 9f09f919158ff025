"""The limits of the operating system for this daemon: at four fifths of one, no more workers are started.

When files or processes run out, whatever needs the next one fails, not necessarily the worker: so it is refused
earlier.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from sandbox_actors.errors import Refused

SHARE = 0.8
"""Share of a limit that may be used."""

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limit:
    """`used` of at most `most`; `name` says which limit it is, and how to change it."""

    name: str
    used: int
    most: int


def require_room(limits: Iterable[Limit]) -> None:
    """Raises Refused, naming the limit that is nearly reached."""
    for limit in limits:
        if limit.used >= SHARE * limit.most:
            raise Refused(f"no worker can be started: {limit.used} of {limit.most} are in use, see {limit.name}")


def current_limits() -> Iterator[Limit]:
    """Of this process, its user and its control groups."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Limit("RLIMIT_NOFILE, open files of the daemon (`ulimit -n`)", len(os.listdir("/proc/self/fd")), most)
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    # It does not apply to root. Counting is slow: skipped while the whole machine has fewer than the limit.
    if most != resource.RLIM_INFINITY and os.getuid() and _tasks() >= SHARE * most:
        yield Limit("RLIMIT_NPROC, processes and threads of this user (`ulimit -u`)", _tasks_of_user(), most)
    for folder in cgroups("pids"):
        most_tasks, tasks = _number(folder / "pids.max"), _number(folder / "pids.current")
        if most_tasks is not None and tasks is not None:
            yield Limit(f"pids.max of the control group {folder}", tasks, most_tasks)


def memory_limit() -> int:
    """Bytes that the processes here may use together: the limit of their control groups, or the machine's memory."""
    found = [psutil.virtual_memory().total]
    for folder in cgroups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            most = _number(folder / name)
            found += [] if most is None else [most]
    return min(found)


def count_oom_kills() -> int:
    """How many processes the kernel's OOM killer has killed since this machine was started."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def was_oom_killed(status: int | None, kills_before: int) -> bool:
    """Whether a process that ended with `status` was most likely killed by the kernel's OOM killer."""
    return status == -signal.SIGKILL and count_oom_kills() > kills_before


def cgroups(controller: str, own: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> list[Path]:
    """The folders of this process's control group and its ancestors for one controller, of version 1 or 2."""
    found: list[Path] = []
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        number, names, path = line.split(":", 2)
        if number == "0" or controller in names.split(","):
            base = root if number == "0" else root / controller
            folder = base / path.lstrip("/")
            found += [each for each in (folder, *folder.parents) if each == base or base in each.parents]
    return found


def _number(path: Path) -> int | None:
    """The number in a file of a control group; None if the file does not exist, or contains `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _tasks() -> int:
    """The number of all processes and threads of the machine."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def _tasks_of_user() -> int:
    total = 0
    for process in psutil.process_iter():
        try:
            total += process.num_threads() if process.uids().real == os.getuid() else 0
        except psutil.Error:
            continue  # it has just ended, or is another user's
    return total
