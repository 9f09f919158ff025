"""A listening Unix socket that keeps its path."""

from __future__ import annotations

import os
import socket as sockets
from contextlib import suppress
from pathlib import Path

import trio

from sandbox_actors.errors import ProtocolError, SandboxError
from sandbox_actors.protocol.unix_socket import SOCKET_PATH_LIMIT, anothers_daemon
from sandbox_actors.system.folders import require_own_socket_folder
from sandbox_actors.system.paths import SOCKET_WAY_OUT

BACKLOG = 1_000
"""Connections that the kernel queues until they are accepted."""

PATH_CHECK_SECONDS = 2.0
"""Seconds between two checks whether the socket is still at its path."""


class Listener:
    """A socket that listens at `path`, and is created again if the path disappears: not if `home` has too, because its
    daemon then ends."""

    def __init__(self, path: Path, home: Path | None = None) -> None:
        self._path, self._home = path, home
        self._socket = _listen(path)
        self._file_id = _file_id(path)

    async def accept(self) -> tuple[sockets.socket, object]:
        """The next connection. Raises OSError."""
        while True:
            with suppress(trio.ClosedResourceError, BlockingIOError, ConnectionAbortedError):
                await trio.lowlevel.wait_readable(self._socket)
                connection, address = self._socket.accept()
                connection.setblocking(False)
                return connection, address

    def refusal(self) -> SandboxError:
        """What other users are told."""
        return anothers_daemon(self._path, os.getuid())

    async def restore_path(self) -> None:
        """Listen at the path again if it has gone: a folder below /run/user is removed when its user logs out."""
        while True:
            await trio.sleep(PATH_CHECK_SECONDS)
            if _file_id(self._path) is None and (self._home is None or self._home.is_dir()):
                with suppress(OSError, SandboxError):  # fails until the user's next login: try again
                    self._path.parent.mkdir(mode=0o700, exist_ok=True)
                    require_own_socket_folder(self._path.parent, SOCKET_WAY_OUT)
                    again = _listen(self._path)
                    self.close()
                    self._socket, self._file_id = again, _file_id(self._path)

    def close(self) -> None:
        """Stop listening, and remove the path if it still belongs to this socket."""
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        if self._file_id is not None and _file_id(self._path) == self._file_id:
            self._path.unlink()


def _listen(path: Path) -> sockets.socket:
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT:
        raise ProtocolError(f"{path}: a socket path may have {SOCKET_PATH_LIMIT} bytes, this one has {length}")
    listening = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    listening.setblocking(False)
    previous = os.umask(0o077)  # bind creates the socket with this mode; a chmod afterwards would be too late
    try:
        if path.is_socket():  # left by a daemon that was killed; bind fails for any other file
            path.unlink()
        listening.bind(os.fspath(path))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ProtocolError(f"cannot listen at {path}: {error.strerror}") from error
    finally:
        os.umask(previous)
    return listening


def _file_id(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at `path`; None if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
