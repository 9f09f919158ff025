"""How a worker notices that its daemon has ended, and how it ends itself with everything that it started.

Theory of operation. The link owns the pidfd of its daemon, and its reading thread waits for it together with the
socket. That thread also calls `kill_own_processes`, while the main thread may be running a component; it does not
return, so the component gets no chance to clean up.

- A pidfd becomes readable when the process ends, whatever its sockets say: a child of the daemon may still hold those.
- While there is no daemon, a worker itself has to end what it started. It finds those processes by its process group,
  and by the mark that they inherit. `system/process_tree.py` does the same for the daemon by descent and by the mark,
  with psutil, which an env may lack.

Guaranteed: a pidfd never means a later process with the same pid, if the pid was that of a living process when it was
opened.

What failed: `killpg` alone left 8 of 8 grandchildren alive that had called setsid. ZeroMQ's heartbeats see neither a
process whose GIL is held nor a dead one whose child holds the socket.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from typing import NoReturn

from sandbox_actors.protocol.process_mark import MARK, find_marked

PIDFD_OPEN = 434
"""Number of the system call, the same on every architecture."""


def open_pidfd(pid: int) -> int:
    """A descriptor that becomes readable when the process ends. Raises OSError if it has ended already."""
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    # Pythons that were built with old kernel headers, conda's among them, lack the function.
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(PIDFD_OPEN, pid, 0))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def kill_own_processes() -> NoReturn:
    """Kill this process and everything that it started: its group, and processes with its mark that left the group."""
    for pid in find_marked({os.environ.get(MARK, "")}):
        if pid != os.getpid():  # this process is in its own group, and ends last
            with suppress(OSError):  # it has just ended
                os.kill(pid, signal.SIGKILL)
    os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
