"""Unix sockets, for both sides: the limit of their paths, and the process at the other end."""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

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
