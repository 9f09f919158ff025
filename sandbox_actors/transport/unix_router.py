"""Unix sockets on which the daemon speaks ZMTP to DEALER sockets, in trio, without libzmq.

Theory of operation. Everything is in one thread, trio's. A router owns its listeners and their connections, as tasks of
one nursery: two for each listener (one accepts, one restores its path) and one for each connection, which reads it to
its end and closes it. `send` may be called from any task: it writes at once what the kernel takes. What is left is
queued, and a task of that connection writes it; so frames of one connection are sent in the order of the calls.

- Before its greeting is accepted, a peer may send frames of `HELLO_LIMIT` bytes for `GREETING_TIMEOUT` seconds.
- A frame is delivered by a call, not through a queue: the receiver must not block. While it handles one frame it may
  cut the connection, and no further frame of it is delivered then.
- Of frames larger than `LARGE`, `LARGE_AT_ONCE` are received at a time; the other peers' bytes wait in the kernel.
- `cut` cancels the reading task; `on_closed` is called once for every connection, by that task, after the socket is
  closed.

Guaranteed: memory is bounded for each peer in both directions, whatever it sends and whether or not it reads; one peer
never delays another one for longer than one read of `READ_SIZE` bytes takes; one connection too many, and one of
another user, is refused with the reason.

What failed: sending the reason of a refusal at once, and closing. libzmq takes a frame that comes before it has sent
its greeting for a violation of the protocol, and 200 of 200 clients never saw the reason.

A ROUTER of libzmq failed too. It aborts the process when accept finds no free descriptor; one unfinished message of
many parts passes by its limits (2 GiB in 9 s); by default it dropped 18,000 of 20,000 frames to a slow peer without an
error; it says neither who has connected nor that a peer has gone; binding takes over the path of a daemon that is
running, so the caller holds a lock. This one is also faster, as no thread stands between socket and task.
"""

from __future__ import annotations

import logging
import resource
import socket as sockets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from sandbox_actors.errors import ProtocolError, Refused, SandboxError
from sandbox_actors.protocol.frames import MAX_FRAME
from sandbox_actors.protocol.unix_socket import credentials, is_trusted
from sandbox_actors.transport.connection import (
    GREETING_TIMEOUT,
    HELLO_LIMIT,
    Connection,
    OnClosed,
    OnFrame,
    PeerGone,
    turned_away,
)
from sandbox_actors.transport.rate_limited_log import RateLimitedLog
from sandbox_actors.transport.unix_listener import Listener
from sandbox_actors.transport.zmtp import OPENING, Decoder, framed

log = logging.getLogger(__name__)

CONNECTIONS = 1_000
"""Connections of one router; one more is refused with the reason."""

FILES_SHARE = 0.8
"""Share of the files that the process may open, up to which connections are accepted."""

UNREAD_LIMIT = 2 * MAX_FRAME
"""Bytes queued for a peer that does not read. They are answers to its own asks, so at this limit it must be stuck."""

REFUSED_AT_ONCE = 8
REFUSAL_TIMEOUT = 2.0
"""Connections that are kept until their peers have read why they are refused, and for how many seconds. If there are
more, the oldest one is closed, whose peer has had the most time."""

READ_SIZE = 65_536

LARGE = READ_SIZE
LARGE_AT_ONCE = 2
LARGE_TIMEOUT = 30.0
"""Of frames of more than `LARGE` bytes, `LARGE_AT_ONCE` are received at a time, within `LARGE_TIMEOUT` seconds each."""

ACCEPT_PAUSE = 0.05
"""Seconds until the next attempt after a connection could not be accepted."""


class UnixConnection:
    """One accepted connection. `serve` reads it; `send` writes at once what the kernel takes, and another task the
    rest."""

    def __init__(self, router: UnixRouter, connection: sockets.socket, pid: int, timeout: float) -> None:
        self._router, self._socket, self._pid = router, connection, pid
        self._decoder = Decoder(HELLO_LIMIT)
        self._scope = trio.CancelScope(deadline=trio.current_time() + timeout)
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._is_over = False

    @property
    def origin(self) -> str:
        return f"pid {self._pid}"

    def admit(self) -> None:
        self._decoder.limit = MAX_FRAME
        self._scope.deadline = float("inf")

    def send(self, frame: bytes) -> None:
        data = framed(frame)
        if self._unsent:
            self._queue(memoryview(data))
            return
        sent = self._write(data)
        if sent < len(data):
            self._queue(memoryview(data)[sent:])
            self._router.start_soon(self._send_rest)

    def cut(self) -> None:
        self._is_over = True
        self._scope.cancel()

    async def serve(self, on_frame: OnFrame, on_closed: OnClosed) -> None:
        """Read to the end of the connection, then close it."""
        try:
            with self._scope:
                self._write(OPENING)
                await self._read(on_frame)
        except PeerGone:
            pass  # the normal end of a connection
        except SandboxError as error:
            self._turn_away(error)
        except Exception:
            log.exception("the connection of %s met an error of the daemon", self.origin)
        finally:
            self._is_over = True
            trio.lowlevel.notify_closing(self._socket)  # wakes `_send_rest`, which may wait for this socket
            self._socket.close()
            on_closed(self)

    async def _read(self, on_frame: OnFrame) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            if self._decoder.pending_size > LARGE:
                async with self._router.large:
                    await self._read_large(on_frame)
            elif not self._read_once(on_frame):
                return

    async def _read_large(self, on_frame: OnFrame) -> None:
        with trio.move_on_after(LARGE_TIMEOUT):
            while self._decoder.pending_size > LARGE:
                await trio.lowlevel.wait_readable(self._socket)
                if not self._read_once(on_frame):
                    return
        if self._decoder.pending_size > LARGE:
            raise ProtocolError(
                f"a message of {self._decoder.pending_size} bytes was not complete in {LARGE_TIMEOUT:g} s"
            )

    def _read_once(self, on_frame: OnFrame) -> bool:
        """Receive once and deliver complete frames. False at the end of the connection. Raises ProtocolError,
        PeerGone."""
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return True
        except OSError as error:
            raise PeerGone(f"{self.origin} is not connected any more ({error.strerror})") from error
        for frame in self._decoder.feed(data):
            on_frame(self, frame)
            if self._is_over:  # the receiver has cut this connection: the decoder must not be used again
                return False
        return bool(data)

    def _write(self, data: bytes | memoryview) -> int:
        if self._is_over:
            raise PeerGone(f"{self.origin} is not connected any more")
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerGone(f"{self.origin} is not connected any more ({error.strerror})") from error

    def _queue(self, data: memoryview) -> None:
        if self._is_over or self._unsent_bytes + len(data) > UNREAD_LIMIT:
            self.cut()
            raise PeerGone(f"{self.origin} does not read the answers to its asks")
        self._unsent.append(data)
        self._unsent_bytes += len(data)

    async def _send_rest(self) -> None:
        with suppress(PeerGone, trio.ClosedResourceError):
            while self._unsent and not self._is_over:
                await trio.lowlevel.wait_writable(self._socket)
                sent = self._write(self._unsent[0])
                self._unsent_bytes -= sent
                self._unsent[0] = self._unsent[0][sent:]
                if not self._unsent[0]:
                    self._unsent.popleft()

    def _turn_away(self, error: SandboxError) -> None:
        if isinstance(error, ProtocolError):
            self._router.limited_log.warn("protocol", f"{self.origin} was disconnected: {error}")
        with suppress(PeerGone):
            self.send(turned_away(error))


class UnixRouter:
    """Bound Unix sockets, and their connections. Made by `open_router`."""

    def __init__(self, listeners: list[Listener]) -> None:
        self._listeners = listeners
        self._count = 0
        self._refused: deque[Connection] = deque()
        self.large = trio.Semaphore(LARGE_AT_ONCE)
        self.limited_log = RateLimitedLog()

    async def run(self, on_frame: OnFrame, on_closed: OnClosed) -> None:
        async with trio.open_nursery() as nursery:
            self.start_soon = nursery.start_soon
            for listener in self._listeners:
                nursery.start_soon(listener.restore_path)
                nursery.start_soon(self._accept, listener, on_frame, on_closed)

    async def _accept(self, listener: Listener, on_frame: OnFrame, on_closed: OnClosed) -> None:
        while True:
            try:
                connection, _ = await listener.accept()
            except Exception as error:  # the next one may be accepted
                self.limited_log.warn(
                    "accept", f"cannot accept a connection: {getattr(error, 'strerror', None) or error}"
                )
                await trio.sleep(ACCEPT_PAUSE)
                continue
            pid, uid, _ = credentials(connection)
            if not is_trusted(uid):
                self.limited_log.warn("stranger", f"a connection of another user (uid {uid}, pid {pid}) was refused")
                self._refuse(UnixConnection(self, connection, pid, REFUSAL_TIMEOUT), listener.refusal())
            elif reason := self._find_exhausted_limit(connection):
                self.limited_log.warn("full", f"a connection of pid {pid} was refused: {reason}")
                self._refuse(UnixConnection(self, connection, pid, REFUSAL_TIMEOUT), Refused(reason))
            else:
                self._count += 1
                accepted = UnixConnection(self, connection, pid, GREETING_TIMEOUT)
                self.start_soon(self._serve, accepted, on_frame, on_closed)

    async def _serve(self, connection: UnixConnection, on_frame: OnFrame, on_closed: OnClosed) -> None:
        try:
            await connection.serve(on_frame, on_closed)
        finally:
            self._count -= 1

    def _refuse(self, connection: UnixConnection, reason: SandboxError) -> None:
        """Answer the first frame of a peer with the reason: libzmq accepts no frame before it has sent its own
        greeting."""
        if len(self._refused) >= REFUSED_AT_ONCE:
            self._refused.popleft().cut()
        self._refused.append(connection)

        def answer(_: Connection, frame: bytes) -> None:
            raise reason

        self.start_soon(connection.serve, answer, self._forget_refused)

    def _forget_refused(self, connection: Connection) -> None:
        if connection in self._refused:
            self._refused.remove(connection)

    def _find_exhausted_limit(self, connection: sockets.socket) -> str:
        """Why one more connection is too many; empty if there is room."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The kernel assigns the lowest free descriptor, so all numbers below that of a new connection are in use.
        if self._count >= CONNECTIONS:
            return f"{CONNECTIONS} connections are open, which is the limit"
        if connection.fileno() >= files * FILES_SHARE:
            return f"{connection.fileno()} of the {files} files that the daemon may open (RLIMIT_NOFILE) are in use"
        return ""


@asynccontextmanager
async def open_router(*paths: Path, home: Path | None = None) -> AsyncIterator[UnixRouter]:
    """Listen at each of `paths`, for the daemon of `home` if it has one; closed and removed when the block ends.

    The caller must hold the lock that makes the paths its own, because an existing socket is replaced.
    Raises ProtocolError if a path is too long for an address, or is occupied by something other than a socket.
    """
    listeners: list[Listener] = []
    try:
        for path in dict.fromkeys(paths):
            listeners.append(Listener(path, home))
        yield UnixRouter(listeners)
    finally:
        for listener in listeners:
            listener.close()
