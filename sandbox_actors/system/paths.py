"""Where the daemon's files are: everything below one home, and the two sockets.

A client and a daemon compute the same paths from the same environment. Only `prepare` reads or creates anything.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox_actors.errors import Refused
from sandbox_actors.home import APP, HOME_VARIABLE, expanded, sandbox_home
from sandbox_actors.protocol.texts import bounded
from sandbox_actors.protocol.unix_socket import SOCKET_PATH_LIMIT
from sandbox_actors.system.folders import make_private, remove_if_empty, require_own_socket_folder

SOCKET_VARIABLE = "SANDBOX_SOCKET"

HOME_WAY_OUT = f"set {HOME_VARIABLE} to another folder"
SHORT_WAY_OUT = "set TMPDIR to a folder of your own, for the daemon and for its clients"
SOCKET_WAY_OUT = f"set {SOCKET_VARIABLE} to a path in a folder of your own"


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
        return self.home / "crashes.json"

    @property
    def keys(self) -> Path:
        """The keys of clients and daemons over TCP."""
        return self.home / "keys"

    @property
    def short(self) -> Path:
        """The home's own folder in the temporary folder, for what needs short paths: sockets."""
        return _short_folder(self.home)

    @property
    def home_socket(self) -> Path:
        """A second client socket: `socket` may be in a folder that exists only during a login, which cron cannot rely
        on."""
        return _in_home(self.home, "daemon.sock")

    @property
    def scratch(self) -> Path:
        """Temporary files of workers, of which some are sockets."""
        return self.short / "scratch"

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
        for folder in (self.scratch, self.short):
            remove_if_empty(folder)

    def prepare(self) -> None:
        """Create the missing folders, accessible to this user only, and tighten those that are looser.

        Raises Refused if that fails, or other users could replace a file of the home or a socket.
        """
        make_private(self.home, HOME_WAY_OUT, may_be_link=True)
        for folder in {self.home_socket.parent, self.worker_socket.parent} - {self.home}:
            make_private(folder, SHORT_WAY_OUT)
        if self.socket.parent != self.home:
            require_own_socket_folder(self.socket.parent, SOCKET_WAY_OUT)

    def prepare_scratch(self) -> None:
        """Make the folder of the workers' temporary files: a daemon's to do, which removes it in
        `remove_empty_folders`."""
        for folder in (self.short, self.scratch):
            make_private(folder, SHORT_WAY_OUT)


def find_paths(environ: Mapping[str, str] = os.environ) -> Paths:
    """The paths for these environment variables. Raises Refused if a socket path is too long, or a path cannot be
    used."""
    home = sandbox_home(environ)
    found = Paths(home=home, socket=_socket(environ, home), worker_socket=_in_home(home, "workers.sock"))
    for path in (found.home, found.socket, found.worker_socket):
        _require_text(path)
    return found


def _require_text(path: Path) -> None:
    """Raise Refused for a path that no message between processes can hold."""
    if bounded(str(path), limit=sys.maxsize) != str(path):
        raise Refused(f"{bounded(str(path))}: the path is not UTF-8; set {HOME_VARIABLE} to one that is")


def _socket(environ: Mapping[str, str], home: Path) -> Path:
    if given := environ.get(SOCKET_VARIABLE):
        path = expanded(given, SOCKET_VARIABLE)
        if _fits(path):
            return path
        raise Refused(
            f"{SOCKET_VARIABLE}={given}: a socket path may have {SOCKET_PATH_LIMIT} bytes; choose a shorter one"
        )
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    # Two homes must not share a socket: one that is not the default has its own.
    is_default_home = not environ.get(HOME_VARIABLE)
    if is_default_home and os.path.isabs(runtime) and os.access(runtime, os.W_OK | os.X_OK):
        path = Path(runtime, APP, "daemon.sock")
        if _fits(path):
            return path
    return _in_home(home, "daemon.sock")


def _in_home(home: Path, name: str) -> Path:
    """Where a socket of `home` is: in its short folder if a path in the home is too long for an address."""
    return home / name if _fits(home / name) else _short_folder(home) / name


def _short_folder(home: Path) -> Path:
    """A folder in the temporary folder, of this user and home alone. Its name can be guessed, so that it is trusted
    only after `make_private`."""
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}-{digest}"


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_LIMIT
