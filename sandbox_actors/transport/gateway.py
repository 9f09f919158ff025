"""Peers behind a socket: greets them, answers their asks, and sends them asks.

Theory of operation. One gateway serves clients, another one workers; they differ only in which peers they admit and
what they answer. All of it runs in trio. The router calls `_on_frame` for each frame and `_on_closed` for each
connection that has ended; neither blocks. Every ask of a peer becomes a task of the gateway's nursery, so that one that
waits does not delay the others: asks of one peer are served concurrently, and answered in the order in which they are
done. A peer may have `MAX_OPEN_ASKS` of them, of at most MAX_FRAME bytes together; one more is refused, not queued.

- `Peer.ask` waits in the caller's task for a promise that `settle` keeps. Cancelling it sends `Abandon`.
- A peer can end in two ways: its connection is lost, or the process is known to have ended (`end`). Whoever watches the
  process knows better why, so after a lost connection the open asks wait `LOST_GRACE` seconds for its `end`. In both
  cases what is being done for the peer is cancelled at once.
- A malformed message is answered with what is wrong with it; ten in a minute cost their sender the connection.

- Whatever an ask or a frame raises is its own: it becomes the answer, whose size is limited (`protocol/faults.py`).

Guaranteed: an ask gets exactly one answer while its peer is connected; an ask of this side ends when its peer does;
every ask of this side is given the first error that `end` was called with.

What failed: relying on the connection alone. A killed process whose forked child still holds the socket looks alive.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import trio

from sandbox_actors.errors import ProtocolError, Refused, SandboxError
from sandbox_actors.protocol.faults import error_of, fault_of
from sandbox_actors.protocol.frames import (
    MAX_FRAME,
    NO_ASK,
    PROTOCOL_VERSION,
    Abandon,
    Answer,
    Ask,
    Failed,
    Frame,
    Hello,
    Reply,
    Request,
    Welcome,
    decode_answer,
    decode_frame,
    encode,
)
from sandbox_actors.protocol.texts import text_of
from sandbox_actors.transport.connection import Connection, PeerGone, Router, turned_away
from sandbox_actors.transport.promises import PromiseTable
from sandbox_actors.version import __version__

log = logging.getLogger(__name__)

MALFORMED_LIMIT = 10
MALFORMED_WINDOW = 60.0
"""A peer is disconnected after so many malformed messages in so many seconds."""


class MalformedCount:
    """Counts the malformed messages of one peer."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MALFORMED_LIMIT)

    def add(self, now: float) -> bool:
        """Count one more. True if the limit is reached."""
        self._times.append(now)
        return len(self._times) == MALFORMED_LIMIT and now - self._times[0] <= MALFORMED_WINDOW


MAX_OPEN_ASKS = 64
"""Asks that one peer may have open at a time; one more is refused, not queued. So is one with which the open asks would
exceed MAX_FRAME bytes."""

ANSWER_LIMIT = MAX_FRAME // 2
"""Bytes of one answer. What may be longer is asked for in pieces."""

LOST_GRACE = 10.0
"""Seconds after the end of a connection in which the supervisor of the process may report why it ended."""

Admit = Callable[[Hello], None]
Serve = Callable[["Peer", msgspec.Raw], Awaitable[object]]


class Peer:
    """One process at the other end of the socket; the ActorRef of what runs there."""

    def __init__(self, connection: Connection, hello: Hello) -> None:
        self.connection, self.hello = connection, hello
        self.serving: dict[int, trio.CancelScope] = {}
        self.serving_bytes = 0
        self._promises = PromiseTable[msgspec.Raw]()
        self._has_ended = False

    @property
    def name(self) -> str:
        return self.hello.name

    @property
    def is_waited_for(self) -> bool:
        """Whether this side waits for an answer from it."""
        return len(self._promises) > 0

    async def ask(self, request: Request[Answer]) -> Answer:
        """Send `request` and wait for its answer. Cancelling the wait informs the peer that the answer is not needed.

        Raises ComponentFailed with the remote traceback, or what `end` was given when the peer went away meanwhile.
        """
        id, promise = self._promises.new()
        try:
            self.send(Ask(id=id, body=msgspec.Raw(encode(request))))
            body = await promise.wait()
        finally:
            if self._promises.take(id) is not None:
                self._abandon(id)
        return decode_answer(request, body)

    async def tell(self, request: Request[Any]) -> None:
        """Send `request` without waiting for its answer."""
        id, _ = self._promises.new()
        self._promises.take(id)  # the answer will find no promise, and be dropped
        self.send(Ask(id=id, body=msgspec.Raw(encode(request))))

    def send(self, frame: Frame) -> None:
        """Send a frame. Raises PeerGone, or Refused if the frame is too long."""
        data = encode(frame)
        if len(data) > MAX_FRAME:
            raise Refused(
                f"a message for {self.name} has {len(data):,} bytes, and the limit is {MAX_FRAME:,}; put long lists "
                "and texts into files"
            )
        self.connection.send(data)

    def settle(self, frame: Reply | Failed) -> None:
        """OnFrame an answer of the peer to the caller that waits for it."""
        promise = self._promises.take(frame.id)
        if promise is None:
            return
        if isinstance(frame, Reply):
            promise.resolve(frame.body)
        else:
            promise.reject(error_of(frame.fault))

    def end(self, error: SandboxError) -> None:
        """The peer has ended: fail its open asks with `error`, unless an earlier call has, and cancel what is done for
        it."""
        if not self._has_ended:
            self._has_ended = True
            self._promises.end(error)
        self.disconnect()

    def disconnect(self) -> None:
        """End the connection, and cancel what is done for the peer."""
        self.connection.cut()
        for scope in self.serving.values():
            scope.cancel()

    def _abandon(self, id: int) -> None:
        try:
            self.send(Abandon(id=id))
        except PeerGone:
            return  # the supervisor of the process reports why it ended


class Gateway:
    """Serves one router. `admit(hello)` raises to refuse a peer; `serve(peer, body)` returns the answer to one ask."""

    def __init__(self, router: Router, admit: Admit, serve: Serve, arrived: Callable[[Peer], None]) -> None:
        self._router, self._admit, self._serve, self._arrived = router, admit, serve, arrived
        self._peers: dict[Connection, Peer] = {}
        self._malformed: dict[Connection, MalformedCount] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, which also cancels every open ask."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await self._router.run(self._on_frame, self._on_closed)

    def _on_frame(self, connection: Connection, data: bytes) -> None:
        peer = self._peers.get(connection)
        try:
            frame = decode_checked(data)
            if peer is None:
                self._greet(connection, frame)
            else:
                self._handle(peer, frame, len(data))
        except PeerGone:
            return  # `_on_closed` is called for it
        except Exception as error:  # of this frame: the other peers are served
            _log_unexpected(f"a message of {connection.origin} could not be handled", error)
            self._report_malformed(connection, error)

    def _on_closed(self, connection: Connection) -> None:
        self._malformed.pop(connection, None)
        peer = self._peers.pop(connection, None)
        if peer is not None:
            peer.disconnect()
            if peer.is_waited_for:
                self._nursery.start_soon(self._end_after_grace, peer)

    async def _end_after_grace(self, peer: Peer) -> None:
        await trio.sleep(LOST_GRACE)
        peer.end(PeerGone(f"{peer.name} ({peer.connection.origin}) has closed its connection"))

    def _greet(self, connection: Connection, frame: Frame) -> None:
        if not isinstance(frame, Hello):
            raise ProtocolError("the first frame of a connection must be Hello")
        if frame.protocol != PROTOCOL_VERSION:
            raise ProtocolError(
                f"this daemon ({__version__}) speaks protocol {PROTOCOL_VERSION}, "
                f"{frame.name} ({frame.version}) speaks {frame.protocol}"
            )
        self._admit(frame)
        connection.admit()
        peer = self._peers[connection] = Peer(connection, frame)
        self._arrived(peer)
        peer.send(Welcome(protocol=PROTOCOL_VERSION, version=__version__, pid=os.getpid()))

    def _handle(self, peer: Peer, frame: Frame, size: int) -> None:
        if isinstance(frame, Ask):
            self._start_serving(peer, frame, size)
        elif isinstance(frame, (Reply, Failed)):
            peer.settle(frame)
        elif isinstance(frame, Abandon):
            abandoned = peer.serving.get(frame.id)
            if abandoned is not None:
                abandoned.cancel()
        else:
            raise ProtocolError(f"a peer must not send {type(frame).__name__} after its greeting")

    def _start_serving(self, peer: Peer, ask: Ask, size: int) -> None:
        if ask.id in peer.serving:
            raise ProtocolError(f"ask {ask.id} is open already")
        if len(peer.serving) >= MAX_OPEN_ASKS or peer.serving_bytes + size > MAX_FRAME:
            refusal = Refused(
                f"{len(peer.serving)} asks of this peer are open, and one more would exceed the limit; "
                "wait for an answer first"
            )
            self._answer(peer, Failed(id=ask.id, fault=fault_of(refusal)))
            return
        scope = peer.serving[ask.id] = trio.CancelScope()
        peer.serving_bytes += size
        self._nursery.start_soon(self._serve_ask, peer, ask, size, scope)

    async def _serve_ask(self, peer: Peer, ask: Ask, size: int, scope: trio.CancelScope) -> None:
        with scope:
            try:
                body = encode(await self._serve(peer, ask.body))
                if len(body) > ANSWER_LIMIT:
                    raise Refused(f"the answer has {len(body)} bytes, and may have {ANSWER_LIMIT}; ask for less")
                self._answer(peer, Reply(id=ask.id, body=msgspec.Raw(body)))
            except Exception as error:  # of this ask: it is the answer, and of limited size
                _log_unexpected(f"an ask of {peer.connection.origin} failed", error)
                self._answer(peer, Failed(id=ask.id, fault=fault_of(error)))
                # The body of an ask is decoded only here, so it can be malformed like a frame.
                if isinstance(error, ProtocolError) and peer.connection in self._peers:
                    self._count_malformed(peer.connection, error)
            finally:
                peer.serving.pop(ask.id, None)
                peer.serving_bytes -= size

    def _answer(self, peer: Peer, frame: Reply | Failed) -> None:
        with suppress(PeerGone):  # `_on_closed` is called for it
            peer.send(frame)

    def _report_malformed(self, connection: Connection, error: Exception) -> None:
        """Send a peer the error in a message that is not an ask, so that it gets no other answer."""
        with suppress(PeerGone):
            if connection in self._peers:
                connection.send(encode(Failed(id=NO_ASK, fault=fault_of(error))))
            else:
                connection.send(turned_away(error))
        self._count_malformed(connection, error)

    def _count_malformed(self, connection: Connection, error: Exception) -> None:
        if not self._malformed.setdefault(connection, MalformedCount()).add(trio.current_time()):
            return
        last = ProtocolError(f"{MALFORMED_LIMIT} messages broke the protocol, the last one: {text_of(error)}")
        with suppress(PeerGone):
            connection.send(turned_away(last))
        connection.cut()


def _log_unexpected(what: str, error: Exception) -> None:
    if not isinstance(error, SandboxError):
        log.error("%s: %s", what, fault_of(error).traceback)


def decode_checked(data: bytes) -> Frame:
    """Decode one frame. Raises ProtocolError if that fails, for whatever reason."""
    try:
        return decode_frame(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a frame of this protocol: {error}") from error
