"""Starting the daemon from a command, so that it outlives the command and shares no files with it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import indent

from sandbox_actors.client.connection import listener
from sandbox_actors.errors import DaemonUnreachable
from sandbox_actors.files import PACKAGES, own_file, tail
from sandbox_actors.home import HOME_VARIABLE
from sandbox_actors.system.paths import SOCKET_VARIABLE, Paths

START_TIMEOUT = 30.0
OTHER_TIMEOUT = 5.0
"""Seconds that another daemon has to start listening, when ours ended because that one holds the lock."""

POLL = 0.02
TAIL_LINES = 15


def start_daemon(paths: Paths) -> None:
    """Start a detached daemon for `paths`, and return when one listens.

    Raises DaemonUnreachable with the last lines that the daemon wrote to its log.
    """
    paths.prepare()
    if _is_another_up(paths):
        return
    with open(paths.daemon_log, "ab", opener=own_file) as log:
        written = log.tell()
        daemon = _spawn(paths, log.fileno())
    deadline = time.monotonic() + START_TIMEOUT
    has_ended = False
    while listener(paths.socket) is None:
        if not has_ended and daemon.poll() is not None:
            has_ended = True
            deadline = min(deadline, time.monotonic() + OTHER_TIMEOUT)
        if time.monotonic() > deadline or (has_ended and not _is_locked(paths.lock)):
            raise DaemonUnreachable(_explanation(paths, daemon, written))
        time.sleep(POLL)
    # Reaps the daemon if it ends before this process does.
    threading.Thread(target=daemon.wait, name="daemon reaper", daemon=True).start()


def _is_another_up(paths: Paths) -> bool:
    """Whether a daemon that holds the lock listens, or soon does. Another one may be about to end, and release it."""
    deadline = time.monotonic() + OTHER_TIMEOUT
    while _is_locked(paths.lock) and time.monotonic() < deadline:
        if listener(paths.socket) is not None:
            return True
        time.sleep(POLL)
    return False


def _spawn(paths: Paths, log: int) -> subprocess.Popen[bytes]:
    environ = {**os.environ, HOME_VARIABLE: str(paths.home), SOCKET_VARIABLE: str(paths.socket)}
    return subprocess.Popen(
        # -E: no PYTHON... variable of the user breaks or changes it.
        [sys.executable, "-E", "-m", "sandbox_actors.daemon"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd=PACKAGES,
        env=environ,
    )


def _is_locked(path: Path) -> bool:
    try:
        with open(path, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return path.exists()
    return False


def _explanation(paths: Paths, daemon: subprocess.Popen[bytes], written: int) -> str:
    status = daemon.poll()
    what = f"ended with status {status}" if status is not None else f"did not listen within {START_TIMEOUT:g} seconds"
    output = tail(paths.daemon_log, TAIL_LINES, start=written)
    if not output:
        return (
            f"the daemon {what}, and wrote nothing to {paths.daemon_log}: is the disk full, or a limit (`ulimit`) low?"
        )
    return f"the daemon {what}; its log {paths.daemon_log} says:\n{indent(output, '  ')}"
