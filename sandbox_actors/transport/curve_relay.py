"""`python -m sandbox_actors.transport.curve_relay ADDRESS KEYS SOCKET`: the TCP port of a daemon, as a process.

Theory of operation. The daemon starts it (`curve_port.py`) and keeps the other end of its standard input, which ends
with the daemon; then this process ends too. Standard output is one line: `ready` when the port is open, else what
prevents that. Each admitted connection gets one of its own to the daemon's Unix SOCKET, whose frames are passed on in
both directions as they are: the daemon sees a local client, and its own router bounds what that may send. Everything
but libzmq's threads is in trio's thread.

- A `Link` is one task for each connection. What a peer sends waits in it until the daemon has read it, up to
  UNREAD_LIMIT bytes, beyond which it is cut. What the daemon sends waits in libzmq, up to HIGH_WATER_MARK frames;
  beyond that the link reads no more, and the daemon cuts a peer that does not read as it does a local one.
- When one of the two connections ends, the other one is cut.

Guaranteed: libzmq is in no process that owns anything. What it does not bound (messages of many parts) ends at
MEMORY_LIMIT: libzmq closes the connection that asks for more, or it aborts this process, and the daemon opens the port
again.

What failed: libzmq in the daemon. A key on the list could use up its memory with one message that never ended.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

import trio

from sandbox_actors.errors import ProtocolError, SandboxError
from sandbox_actors.protocol.frames import MAX_FRAME
from sandbox_actors.transport.connection import Connection, PeerGone
from sandbox_actors.transport.curve_router import PeerBusy, open_curve_router
from sandbox_actors.transport.keys import Keys
from sandbox_actors.transport.unix_router import READ_SIZE, UNREAD_LIMIT
from sandbox_actors.transport.zmtp import DEALER_OPENING, Decoder, framed

MEMORY_LIMIT = 512 * 1024 * 1024
"""Bytes of data of this process: a hundred clients take a tenth of it."""

READY = "ready"

BUSY_PAUSE = 0.01
"""Seconds until a frame is sent again to a peer whose queue was full."""

log = logging.getLogger("sandbox_actors.tcp")


class Link:
    """The connection to the daemon that belongs to one connection over TCP."""

    def __init__(self, peer: Connection) -> None:
        self._peer = peer
        self._unsent = deque([DEALER_OPENING])
        self._unsent_bytes = 0
        self._has_unsent = trio.Event()
        self._scope = trio.CancelScope()

    def send(self, frame: bytes) -> None:
        """Pass a frame of the peer on to the daemon, when the daemon reads it."""
        self._unsent_bytes += len(frame)
        if self._unsent_bytes > UNREAD_LIMIT:
            log.warning("%s sends faster than its frames are read, and was disconnected", self._peer.origin)
            self._peer.cut()
            return
        self._unsent.append(framed(frame))
        self._has_unsent.set()

    def close(self) -> None:
        self._scope.cancel()

    async def run(self, socket: Path) -> None:
        """From the connection to the daemon to the end of either one."""
        try:
            with self._scope:
                async with await trio.open_unix_socket(socket) as stream, trio.open_nursery() as nursery:
                    nursery.start_soon(self._pass_on, stream)
                    with suppress(PeerGone, ProtocolError, trio.BrokenResourceError):
                        await self._pass_back(stream)
                    nursery.cancel_scope.cancel()
        except OSError as error:
            log.warning("%s cannot reach the daemon: %s", self._peer.origin, error.strerror)
        finally:
            self._peer.cut()

    async def _pass_on(self, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # the daemon has ended this connection, which `_pass_back` notices
            while True:
                while self._unsent:
                    data = self._unsent.popleft()
                    await stream.send_all(data)
                    self._unsent_bytes = max(0, self._unsent_bytes - len(data))
                self._has_unsent = trio.Event()
                await self._has_unsent.wait()

    async def _pass_back(self, stream: trio.SocketStream) -> None:
        decoder = Decoder(MAX_FRAME)
        while data := await stream.receive_some(READ_SIZE):
            for frame in decoder.feed(bytes(data)):
                await self._deliver(frame)

    async def _deliver(self, frame: bytes) -> None:
        while True:
            try:
                self._peer.send(frame)
            except PeerBusy:
                await trio.sleep(BUSY_PAUSE)
            else:
                return


async def relay(address: str, keys: Keys, socket: Path) -> None:
    """Serve until standard input ends. Raises Refused, ProtocolError if the port cannot be opened."""
    links: dict[Connection, Link] = {}
    async with open_curve_router(address, keys) as router, trio.open_nursery() as nursery:

        def on_frame(peer: Connection, frame: bytes) -> None:
            if peer not in links:
                links[peer] = Link(peer)
                nursery.start_soon(links[peer].run, socket)
            links[peer].send(frame)

        def on_closed(peer: Connection) -> None:
            if link := links.pop(peer, None):
                link.close()

        nursery.start_soon(router.run, on_frame, on_closed)
        print(READY, flush=True)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as lifeline:
            await lifeline.receive_some(1)
        nursery.cancel_scope.cancel()


def main(arguments: list[str]) -> int:
    address, keys, socket = arguments
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # libzmq aborts at the limit
    form = f"%(asctime)s %(levelname)s sandbox-daemon's TCP port (pid {os.getpid()}) %(message)s"
    logging.basicConfig(level=logging.INFO, format=form)
    try:
        trio.run(relay, address, Keys(Path(keys)), Path(socket))
    except SandboxError as error:  # from before there is a nursery, which would make a group of it
        print(error, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
