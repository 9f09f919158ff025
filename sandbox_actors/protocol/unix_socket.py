"""What both ends of a Unix socket have to know: how long its path may be, and who is at the other end."""

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
    """Of the process that has connected, or that listens."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Credentials(*_CREDENTIALS.unpack(packed))


def listener(path: str | os.PathLike[str], timeout: float) -> Credentials | None:
    """The process that listens at a Unix socket; None where there is no file, the file of a process that has ended, or
    one whose queue has been full for `timeout` seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return None
        return credentials(probe)
