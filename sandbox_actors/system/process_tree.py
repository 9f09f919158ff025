"""All that a process has started: found by descent or by the mark in its environment, and killed."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path

import psutil

MARK = "SANDBOX_PROCESS"
"""Environment variable that every child inherits: it finds what left the child's session and process tree."""


TERMINATE_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""


SWEEPS = 10
"""The most times that is looked for what a process has left behind: it may hang in the kernel."""


EXEC_LOOKS = 4


EXEC_PAUSE = 0.002
"""How often, and with which pause in seconds, the environment of a process is looked at that has none."""


KERNEL_THREAD = 0x00200000
"""A flag in /proc/PID/stat."""


def family(pid: int, name: str) -> list[psutil.Process]:
    """All processes that descend from `pid`, or carry its mark because they or a parent left its session."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        found = []  # it is gone: those it left behind carry its mark
    known = {pid, *(child.pid for child in found)}
    return found + [stray for stray in marked({name}) if stray.pid not in known]


def marked(names: Collection[str]) -> list[psutil.Process]:
    """All processes that carry one of these marks."""
    marks = {f"{MARK}={name}".encode() for name in names}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if not marks.isdisjoint(_environ(entry).split(b"\0")):
                    found.append(psutil.Process(int(entry.name)))
            except (OSError, psutil.Error):
                continue  # ended meanwhile, or another user's
    return found


def _environ(entry: Path) -> bytes:
    """A process's environment, which is empty for a moment while it turns into another program. Raises OSError."""
    for _ in range(EXEC_LOOKS):
        environ = (entry / "environ").read_bytes()
        if environ or not _runs_program(entry):
            return environ
        time.sleep(EXEC_PAUSE)
    return b""


def _runs_program(entry: Path) -> bool:
    """Not so one that has ended and not been reaped, or a thread of the kernel's. Raises OSError."""
    fields = (entry / "stat").read_text().rpartition(")")[2].split()
    return fields[0] not in "ZX" and not int(fields[6]) & KERNEL_THREAD


def kill_family(pid: int, name: str, known: Sequence[psutil.Process] = ()) -> None:
    """Kill what an ended process has left behind, until nothing more is found: who is killed may have forked before."""
    strays = [*known, *family(pid, name)]
    for _ in range(SWEEPS):
        if not strays:
            return
        kill(strays)
        strays = family(pid, name)


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
