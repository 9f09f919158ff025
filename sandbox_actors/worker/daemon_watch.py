"""What a worker without a daemon needs: to see which one there is, and to end itself when there is none."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from typing import NoReturn

from sandbox_actors.protocol.process_mark import MARK, marked

PIDFD_OPEN = 434
"""Number of the system call, the same on every machine."""


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
    for pid in marked({os.environ.get(MARK, "")}):
        if pid != os.getpid():
            with suppress(OSError):  # ended meanwhile
                os.kill(pid, signal.SIGKILL)
    os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
