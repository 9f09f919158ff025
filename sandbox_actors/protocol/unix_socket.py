"""Unix sockets, for both sides: the limit of their paths, and the process at the other end.

A socket's path says nothing about who listens: where another user can write, he can put his own socket there. So both
sides ask the kernel whose process the other one is, before they send anything.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import NamedTuple

from sandbox_actors.errors import AnothersDaemon

SOCKET_PATH_LIMIT = 107
"""Bytes that fit into a Unix socket address on Linux."""

_CREDENTIALS = struct.Struct("3i")


class Credentials(NamedTuple):
    """The process at the other end of a connection, as the kernel says."""

    pid: int
    uid: int
    gid: int


def credentials(connection: socket.socket) -> Credentials:
    """The process that has connected or, from the other side, that listens."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Credentials(*_CREDENTIALS.unpack(packed))


def anothers_daemon(path: object, owner: int) -> AnothersDaemon:
    """The error of who asks at `path`, where a daemon of the user `owner` listens."""
    try:
        name = f"{pwd.getpwuid(owner).pw_name} (uid {owner})"
    except KeyError:
        name = f"with uid {owner}"
    return AnothersDaemon(
        f"the daemon at {path} belongs to the user {name} and serves no one else; set SANDBOX_HOME to a folder of "
        "your own, and SANDBOX_SOCKET to a path in it if you use that"
    )


def is_trusted(uid: int) -> bool:
    """Whether processes of this user may be spoken with, as `files.is_trusted`, which this room does not import."""
    return uid in (os.geteuid(), 0)


@dataclass(frozen=True)
class Door:
    """A Unix socket on which a process of this user listens: `pid`. `address` leads to that socket until `close`,
    whatever is put at its path meanwhile."""

    pid: int
    descriptor: int

    @property
    def address(self) -> str:
        return f"/proc/self/fd/{self.descriptor}"

    def close(self) -> None:
        os.close(self.descriptor)


def find_door(path: str | os.PathLike[str], timeout: float) -> Door | None:
    """The socket at `path`; None if no process listens on it, or its queue of connections has been full for `timeout`
    seconds. Raises AnothersDaemon if the process that listens is another user's."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    found = _listener(f"/proc/self/fd/{descriptor}", timeout)
    if found is not None and is_trusted(found.uid):
        return Door(found.pid, descriptor)
    os.close(descriptor)
    if found is None:
        return None
    raise anothers_daemon(path, found.uid)


def _listener(address: str, timeout: float) -> Credentials | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect(address)
        except OSError:
            return None
        return credentials(probe)
