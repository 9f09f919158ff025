"""Where the daemon's files are: everything below one home, and the two sockets.

A client and a daemon compute the same paths from the same environment. Only `prepare` reads or creates anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox_actors.errors import Refused
from sandbox_actors.home import APP, HOME_VARIABLE, sandbox_home
from sandbox_actors.protocol.texts import bounded
from sandbox_actors.protocol.unix_socket import SOCKET_PATH_LIMIT

SOCKET_VARIABLE = "SANDBOX_SOCKET"


@dataclass(frozen=True)
class Paths:
    """`socket` is where clients connect, `worker_socket` where workers do; all else is in `home`."""

    home: Path
    socket: Path
    worker_socket: Path

    @property
    def store(self) -> Path:
        return self.home / "state.sqlite3"

    @property
    def envs(self) -> Path:
        return self.home / "envs"

    @property
    def experiments(self) -> Path:
        return self.home / "experiments"

    @property
    def daemon_log(self) -> Path:
        return self.home / "daemon.log"

    @property
    def lock(self) -> Path:
        """Held by the daemon that serves this home, until it ends."""
        return self.home / "daemon.lock"

    @property
    def crashes(self) -> Path:
        """Why daemons have ended by an error of their own, lately."""
        return self.home / "crashes.jsonl"

    @property
    def keys(self) -> Path:
        """The keys of clients and daemons over TCP."""
        return self.home / "keys"

    @property
    def home_socket(self) -> Path:
        """A second client socket: `socket` may be in a folder that exists only during a login, which cron cannot rely
        on."""
        return _short(self.home / "daemon.sock")

    @property
    def scratch(self) -> Path:
        """Temporary files of workers. In the temporary folder, because some are sockets, which need short paths."""
        return _short_folder(self.home) / "scratch"

    @property
    def runs(self) -> Path:
        """A folder for each run under way."""
        return self.home / "runs"

    @property
    def workers(self) -> Path:
        """A record of each worker."""
        return self.home / "workers"

    def logs(self, experiment: str) -> Path:
        """The folder of the logs of an experiment, named by its id."""
        return self.experiments / experiment / "log"

    def remove_empty_folders(self) -> None:
        """Remove the folders in the temporary folder if they are empty."""
        for folder in (self.scratch, self.scratch.parent):
            with contextlib.suppress(OSError):  # it does not exist, or is not empty
                folder.rmdir()

    def prepare(self) -> None:
        """Create the missing folders, accessible to this user only.

        Raises Refused if that fails, or other users could replace a socket in its folder.
        """
        for folder in dict.fromkeys(
            (self.home, self.socket.parent, self.home_socket.parent, self.worker_socket.parent)
        ):
            _make_private(folder)

    def prepare_scratch(self) -> None:
        """Make the folder of the workers' temporary files: a daemon's to do, which removes it in
        `remove_empty_folders`."""
        _make_private(self.scratch.parent)


def find_paths(environ: Mapping[str, str] = os.environ) -> Paths:
    """The paths for these environment variables. Raises Refused if a socket path is too long, or a path cannot be
    used."""
    try:
        home = sandbox_home(environ)
        found = Paths(home=home, socket=_socket(environ, home), worker_socket=_short(home / "workers.sock"))
    except FileNotFoundError as error:  # of the current folder
        raise Refused(
            f"{HOME_VARIABLE} or {SOCKET_VARIABLE} is relative, and the current folder has been removed: `cd` to one "
            "that exists"
        ) from error
    for path in (found.home, found.socket, found.worker_socket):
        _require_text(path)
    return found


def _require_text(path: Path) -> None:
    """Raise Refused for a path that no message between processes can hold."""
    if bounded(str(path), limit=sys.maxsize) != str(path):
        raise Refused(f"{bounded(str(path))}: the path is not UTF-8; set {HOME_VARIABLE} to one that is")


def _socket(environ: Mapping[str, str], home: Path) -> Path:
    if given := environ.get(SOCKET_VARIABLE):
        path = Path(given).expanduser().absolute()
        if _fits(path):
            return path
        raise Refused(
            f"{SOCKET_VARIABLE}={given}: a socket path may have {SOCKET_PATH_LIMIT} bytes; choose a shorter one"
        )
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    # Two homes must not share a socket: one that is not the default has its own.
    is_default_home = not environ.get(HOME_VARIABLE)
    if is_default_home and os.path.isabs(runtime) and os.access(runtime, os.W_OK | os.X_OK):
        return _short(Path(runtime) / APP / "daemon.sock")
    return _short(home / "daemon.sock")


def _short(path: Path) -> Path:
    """`path`, or if it is too long for an address, a path in the temporary folder that is derived from it."""
    return path if _fits(path) else _short_folder(path) / path.name


def _short_folder(path: Path) -> Path:
    """A folder in the temporary folder, unique to this user and path."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}-{digest}"


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_LIMIT


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{folder} cannot be created: {error.strerror}; set {HOME_VARIABLE} to another folder") from error
    _check_is_private(folder)


def _check_is_private(folder: Path) -> None:
    """Raise Refused unless only this user can replace files in it: it is ours, or sticky as /tmp is."""
    found = folder.stat()
    is_shared = bool(found.st_mode & 0o022) and not found.st_mode & stat.S_ISVTX
    if is_shared or not os.access(folder, os.W_OK):
        raise Refused(
            f"{folder}: other users could replace a socket there, or it cannot be created; "
            f"restrict the folder to yourself (chmod 700), or set {SOCKET_VARIABLE}"
        )
