"""Peers behind a socket: greets them, answers what they ask, and carries asks to them.

One gateway serves clients, another one workers; they differ only in whom they admit and what they answer. Every ask
of a peer becomes a task of its own, so that one that waits holds up nobody; a peer may have `ASKS_OPEN` of them.
A frame that breaks the protocol costs its sender the connection.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import trio

from sandbox_actors import __version__
from sandbox_actors.actor import Promises
from sandbox_actors.errors import ProtocolError, Refused, SandboxError
from sandbox_actors.messages import (
    MAX_FRAME,
    PROTOCOL_VERSION,
    Abandon,
    Ask,
    Failed,
    Hello,
    Reply,
    TurnedAway,
    Welcome,
    decode_frame,
    encode,
    error_of,
    fault_of,
)
from sandbox_actors.transport import PeerGone, Router

ASKS_OPEN = 64
"""Asks that one peer may have open at a time; one more is refused, not queued."""

T = TypeVar("T")
Admit = Callable[[Hello], None]
Serve = Callable[["Peer", msgspec.Raw], Awaitable[Any]]


class Peer:
    """One process at the other end of the socket; the ActorRef of what runs there."""

    def __init__(self, router: Router, identity: bytes, hello: Hello, forget: Callable[[Peer], None]) -> None:
        self.identity, self.hello = identity, hello
        self._forget = forget
        self.serving: dict[int, trio.CancelScope] = {}
        self._router = router
        self._promises = Promises()

    @property
    def name(self) -> str:
        return self.hello.name

    async def ask(self, message: Any) -> msgspec.Raw:
        """Send `message` and wait for the answer, still encoded (see `ask_for`).

        Raises ComponentFailed with the remote traceback, or what `end` was given when the peer went away meanwhile.
        """
        id, promise = self._promises.new()
        try:
            self.send(Ask(id=id, body=msgspec.Raw(encode(message))))
            answer: msgspec.Raw = await promise.wait()
        finally:
            if self._promises.take(id) is not None:
                self._abandon(id)
        return answer

    async def ask_for(self, message: Any, answer: type[T]) -> T:
        """`ask`, with the answer decoded as `answer`."""
        return msgspec.msgpack.decode(await self.ask(message), type=answer)

    async def tell(self, message: Any) -> None:
        """Send `message` without waiting for its answer."""
        id, _ = self._promises.new()
        self._promises.take(id)
        self.send(Ask(id=id, body=msgspec.Raw(encode(message))))

    def send(self, frame: Any) -> None:
        self._router.send(self.identity, encode(frame))

    def settle(self, frame: Reply | Failed) -> None:
        """Give an answer from the peer to whoever waits for it."""
        promise = self._promises.take(frame.id)
        if promise is None:
            return
        if isinstance(frame, Reply):
            promise.keep(frame.body)
        else:
            promise.break_off(error_of(frame.fault))

    def end(self, error: SandboxError) -> None:
        """The peer is gone: everyone who waits for it gets `error`, and what it had asked is dropped."""
        self._forget(self)
        self._promises.end(error)
        for scope in self.serving.values():
            scope.cancel()

    def _abandon(self, id: int) -> None:
        try:
            self.send(Abandon(id=id))
        except PeerGone:
            return  # whoever watches the process tells what became of it


class Gateway:
    """Serves one router. `admit(hello)` raises to turn a peer away; `serve(peer, body)` answers one ask."""

    def __init__(self, router: Router, admit: Admit, serve: Serve, arrived: Callable[[Peer], None]) -> None:
        self._router, self._admit, self._serve, self._arrived = router, admit, serve, arrived
        self._peers: dict[bytes, Peer] = {}

    async def run(self) -> None:
        """Serve for ever; cancelling it ends every open ask."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._router.run(self._deliver)

    def _forget(self, peer: Peer) -> None:
        self._peers.pop(peer.identity, None)

    def _deliver(self, identity: bytes, data: bytes) -> None:
        peer = self._peers.get(identity)
        try:
            frame = decode_checked(data)
            if peer is None:
                self._greet(identity, frame)
            else:
                self._handle(peer, frame)
        except ProtocolError as error:
            self._turn_away(identity, error)

    def _greet(self, identity: bytes, frame: Any) -> None:
        if not isinstance(frame, Hello):
            raise ProtocolError("the first frame of a connection has to be Hello")
        if frame.protocol != PROTOCOL_VERSION:
            raise ProtocolError(
                f"this daemon ({__version__}) speaks protocol {PROTOCOL_VERSION}, "
                f"{frame.name} ({frame.version}) speaks {frame.protocol}"
            )
        self._admit(frame)
        peer = self._peers[identity] = Peer(self._router, identity, frame, self._forget)
        peer.send(Welcome(protocol=PROTOCOL_VERSION, version=__version__, pid=os.getpid()))
        self._arrived(peer)

    def _handle(self, peer: Peer, frame: Any) -> None:
        if isinstance(frame, Ask):
            if len(peer.serving) >= ASKS_OPEN:
                refusal = Refused(f"{ASKS_OPEN} asks of this peer are open already")
                self._answer(peer, Failed(id=frame.id, fault=fault_of(refusal)))
            else:
                scope = peer.serving[frame.id] = trio.CancelScope()
                self._nursery.start_soon(self._serve_ask, peer, frame, scope)
        elif isinstance(frame, (Reply, Failed)):
            peer.settle(frame)
        elif isinstance(frame, Abandon):
            abandoned = peer.serving.get(frame.id)
            if abandoned is not None:
                abandoned.cancel()
        else:
            raise ProtocolError(f"{type(frame).__name__} is not for a peer to send now")

    async def _serve_ask(self, peer: Peer, ask: Ask, scope: trio.CancelScope) -> None:
        with scope:
            try:
                body = encode(await self._serve(peer, ask.body))
                if len(body) > MAX_FRAME // 2:
                    raise Refused(f"the answer has {len(body)} bytes, more than a frame may carry: ask for less")
                self._answer(peer, Reply(id=ask.id, body=msgspec.Raw(body)))
            except Exception as error:
                self._answer(peer, Failed(id=ask.id, fault=fault_of(error)))
            finally:
                peer.serving.pop(ask.id, None)

    def _answer(self, peer: Peer, frame: Reply | Failed) -> None:
        try:
            peer.send(frame)
        except PeerGone as error:
            peer.end(error)

    def _turn_away(self, identity: bytes, error: ProtocolError) -> None:
        peer = self._peers.get(identity)
        if peer is not None:
            peer.end(error)
        farewell = TurnedAway(fault=fault_of(error), protocol=PROTOCOL_VERSION, version=__version__)
        try:
            self._router.send(identity, encode(farewell))
        except PeerGone:
            return  # it left before it could be told


def decode_checked(data: bytes) -> Any:
    """Decode one frame. Raises ProtocolError for anything that is none, whatever is wrong with it."""
    if len(data) > MAX_FRAME:
        raise ProtocolError(f"a frame may have {MAX_FRAME} bytes, this has {len(data)}")
    try:
        return decode_frame(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a frame of this protocol: {error}") from error
