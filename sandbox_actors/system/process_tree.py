"""Finds and kills what a process has started: its descendants, and processes with its mark."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress

import psutil

from sandbox_actors.protocol import process_mark

TERMINATE_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


SWEEPS = 10
"""The most times that remaining processes are looked for: one may hang in the kernel and never end."""


def find_descendants(pid: int, name: str) -> list[psutil.Process]:
    """The descendants of `pid`, and the processes that carry its mark because they were started by one that has
    left."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        found = []  # it has ended: what it left behind carries its mark
    known = {pid, *(child.pid for child in found)}
    return found + [stray for stray in find_marked({name}) if stray.pid not in known]


def find_marked(names: Collection[str]) -> list[psutil.Process]:
    """All processes that carry one of these marks."""
    found = []
    for pid in process_mark.find_marked(names):
        with suppress(psutil.Error):  # it has just ended
            found.append(psutil.Process(pid))
    return found


def kill_descendants(pid: int, name: str, known: Sequence[psutil.Process] = ()) -> None:
    """Kill what an ended process has left behind, until nothing is found: a process may fork before it is killed."""
    strays = [*known, *find_descendants(pid, name)]
    for _ in range(SWEEPS):
        if not strays:
            return
        kill(strays)
        strays = find_descendants(pid, name)


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill each that still runs (psutil checks that the pid was not reused), and wait until they have ended."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
    deadline = time.monotonic() + TERMINATE_GRACE
    while any(_is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.002)


def _is_alive(process: psutil.Process) -> bool:
    """A zombie counts as ended: it does nothing more, and its parent reaps it."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
