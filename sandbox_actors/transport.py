"""ZeroMQ for trio: a ROUTER socket over ipc that one task owns.

pyzmq knows asyncio but not trio. What it takes is little, and easy to get wrong: the socket's file descriptor is
edge-triggered and tells only that *something* may have changed, and any call on the socket may consume that edge.
So one task reads, drains until EAGAIN, and looks at EVENTS again before it sleeps; whoever sends looks at EVENTS
afterwards and wakes the reader if the send has eaten its wake-up.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import zmq

from sandbox_actors.errors import ProtocolError, SandboxError
from sandbox_actors.messages import MAX_FRAME

IPC_PATH_LIMIT = 107
"""Bytes that fit into a Unix socket address on Linux."""

HIGH_WATER_MARK = 1_000
"""Frames queued for one peer. Nobody may have that many asks open, so reaching it means that the peer is stuck."""

DRAIN_LIMIT = 100
"""Frames read before other tasks get a turn."""

# Flags that are enum members cost a microsecond an operation.
_POLLIN, _DONTWAIT, _MORE = int(zmq.POLLIN), int(zmq.DONTWAIT), int(zmq.DONTWAIT | zmq.SNDMORE)

Deliver = Callable[[bytes, bytes], None]


class PeerGone(SandboxError):
    """The peer that a frame was for is not connected any more, or has not read for so long that its queue is full."""

    code = "peer-gone"


class Router:
    """A bound ROUTER socket. Made by `open_router`; `run` belongs to one task, `send` may be called by any other."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._descriptor = int(socket.getsockopt(zmq.FD))

    def send(self, peer: bytes, frame: bytes) -> None:
        """Hand one frame over for `peer`, without waiting. Raises PeerGone where it can't be delivered."""
        try:
            self._socket.send(peer, _MORE)
            self._socket.send(frame, _DONTWAIT)
        except zmq.ZMQError as error:
            raise PeerGone(f"peer {peer.hex()} does not read any more ({error})") from error
        finally:
            if self._has_input():
                trio.lowlevel.notify_closing(self._descriptor)  # nothing is closed: it wakes the reader

    async def run(self, deliver: Deliver) -> None:
        """Read for ever, calling `deliver(peer, frame)` for each frame. A frame of many parts arrives as b""."""
        while True:
            for _ in range(DRAIN_LIMIT):
                if not self._has_input():
                    break
                peer, *parts = self._receive()
                deliver(peer, parts[0] if len(parts) == 1 else b"")
            await self._until_readable()

    async def _until_readable(self) -> None:
        if self._has_input():
            await trio.lowlevel.checkpoint()
            return
        try:
            await trio.lowlevel.wait_readable(self._descriptor)
        except trio.ClosedResourceError:
            return  # `send` has eaten the wake-up, and given this one instead

    def _receive(self) -> list[bytes]:
        parts = [self._socket.recv(_DONTWAIT)]
        while self._socket.getsockopt(zmq.RCVMORE):
            parts.append(self._socket.recv(_DONTWAIT))
        return parts

    def _has_input(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & _POLLIN)


@asynccontextmanager
async def open_router(path: Path) -> AsyncIterator[Router]:
    """Bind a ROUTER at the ipc `path`, closed and unlinked on leaving.

    The caller holds whatever lock makes the path its own: binding takes over a path that another process serves.
    Raises ProtocolError where the path is too long for a socket address.
    """
    length = len(os.fsencode(path))
    if length > IPC_PATH_LIMIT:
        raise ProtocolError(f"{path}: a socket path may have {IPC_PATH_LIMIT} bytes, this has {length}")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    try:
        _bind(socket, path)
        yield Router(socket)
    finally:
        context.destroy(linger=0)
        path.unlink(missing_ok=True)


def _bind(socket: zmq.Socket[bytes], path: Path) -> None:
    previous = os.umask(0o077)
    try:
        socket.bind(f"ipc://{path}")
    except zmq.ZMQError as error:
        raise ProtocolError(f"cannot listen at {path}: {error}") from error
    finally:
        os.umask(previous)
