"""What a worker without a daemon needs: to see which one there is, and to end itself when there is none."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
from pathlib import Path
from typing import NoReturn

MARK = "SANDBOX_PROCESS"
"""Environment variable of a worker and of all that it has started, also of what has left its session."""

PIDFD_OPEN = 434
"""Number of the system call, the same on every machine."""

CREDENTIALS = struct.Struct("3i")


def listening(path: str) -> int | None:
    """The process that listens at a Unix socket, None if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return None  # no file, the file of a dead daemon, or a daemon whose queue is full
        pid, _, _ = CREDENTIALS.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return int(pid)


def watched(pid: int) -> int:
    """A descriptor that becomes readable when the process ends. Raises OSError where it has ended already."""
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    # Pythons that were built with old kernel headers, conda's among them, lack the function.
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(PIDFD_OPEN, pid, 0))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def end_family() -> NoReturn:
    """Kill this process and all that it has started: its group, and what carries its mark and has left the group."""
    mark = f"{MARK}={os.environ.get(MARK)}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue  # ended meanwhile, or another user's
    os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
