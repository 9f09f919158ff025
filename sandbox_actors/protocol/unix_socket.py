"""Unix sockets, for both sides: the limit of their paths, and the process at the other end."""

from __future__ import annotations

import os
import pwd
import socket
import struct
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


def listener(path: str | os.PathLike[str], timeout: float) -> Credentials | None:
    """The process that listens at a Unix socket; None if there is none, or its queue of connections has been full for
    `timeout` seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return None
        return credentials(probe)
