"""All that a process has started: found by descent or by the mark in its environment, and killed."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress

import psutil

from sandbox_actors.protocol import process_mark

TERMINATE_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


SWEEPS = 10
"""The most times that is looked for what a process has left behind: it may hang in the kernel."""


def find_descendants(pid: int, name: str) -> list[psutil.Process]:
    """All processes that descend from `pid`, or carry its mark because they or a parent left its session."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        found = []  # it is gone: those it left behind carry its mark
    known = {pid, *(child.pid for child in found)}
    return found + [stray for stray in find_marked({name}) if stray.pid not in known]


def find_marked(names: Collection[str]) -> list[psutil.Process]:
    """All processes that carry one of these marks."""
    found = []
    for pid in process_mark.find_marked(names):
        with suppress(psutil.Error):  # ended meanwhile
            found.append(psutil.Process(pid))
    return found


def kill_descendants(pid: int, name: str, known: Sequence[psutil.Process] = ()) -> None:
    """Kill what an ended process has left behind, until nothing more is found: who is killed may have forked before."""
    strays = [*known, *find_descendants(pid, name)]
    for _ in range(SWEEPS):
        if not strays:
            return
        kill(strays)
        strays = find_descendants(pid, name)


def kill(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL each that still runs (psutil checks that the pid was not reused), and wait until they are gone."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
    deadline = time.monotonic() + TERMINATE_GRACE
    while any(_is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.002)


def _is_alive(process: psutil.Process) -> bool:
    """One that nobody has reaped yet does nothing more, and is not ours to reap."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
