"""A gateway under test, what it is asked, and a client of libzmq that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio
import trio.testing
import zmq

from sandbox_actors.errors import ComponentFailed, NotFound, ProtocolError, Refused
from sandbox_actors.protocol.frames import (
    MAX_FRAME,
    PROTOCOL_VERSION,
    Ask,
    Hello,
    Welcome,
    decode_frame,
    encode,
)
from sandbox_actors.transport.gateway import Gateway, Peer
from sandbox_actors.transport.unix_router import open_router

HELLO = Hello(protocol=PROTOCOL_VERSION, version="0", name="tester", pid=1)


class Unspeakable(Exception):
    """An exception without a text."""

    def __str__(self) -> str:
        raise self


def chained(length: int) -> Exception:
    """An exception with so many causes that no traceback can be made of it."""
    error = ValueError("the first")
    for count in range(length):
        later = ValueError(f"number {count}")
        later.__cause__ = error
        error = later
    return error


UGLY = {
    "huge": ValueError("begins " + "\x01" * (2 * MAX_FRAME) + " ends"),
    "huge refusal": Refused("begins " + "\x01" * (2 * MAX_FRAME) + " ends"),
    "not UTF-8": Refused("no file \udcff begins ends"),
    "huge kind": type("begins" * MAX_FRAME, (Exception,), {})("ends"),
    "component": ComponentFailed("begins " + "m" * MAX_FRAME, "k" * MAX_FRAME, "t" * MAX_FRAME + " ends"),
    "unspeakable": Unspeakable("begins ends"),
    "chained": chained(50_000),
    "group": ExceptionGroup("begins" * MAX_FRAME, [ValueError("ends")]),
}
"""Exceptions that have no text, or one that fits into no frame."""


class Served:
    """The asks and peers of a gateway under test, and its answers."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.cancelled: list[str] = []

    def admit(self, hello: Hello) -> None:
        if hello.name == "stranger":
            raise ProtocolError("strangers stay outside")
        if hello.name in UGLY:
            raise UGLY[hello.name]

    async def serve(self, peer: Peer, body: msgspec.Raw) -> Any:
        word = msgspec.msgpack.decode(body)
        if isinstance(word, list):
            word = word[0]
        if word == "missing":
            raise NotFound("there is no such thing")
        if word == "bug":
            raise ZeroDivisionError("oops")
        if word in UGLY:
            raise UGLY[word]
        if word == "huge answer":
            return "x" * MAX_FRAME
        if word == "no answer":
            return "\udcff"
        if word == "wait":
            try:
                await trio.sleep_forever()
            finally:
                self.cancelled.append(word)
        return {"echo": word}


@asynccontextmanager
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    served = Served()
    async with open_router(tmp_path / "s") as router, trio.open_nursery() as nursery:
        nursery.start_soon(Gateway(router, served.admit, served.serve, served.peers.append).run)
        yield served
        nursery.cancel_scope.cancel()


@contextmanager
def dealer(tmp_path: Path) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(f"ipc://{tmp_path / 's'}")
    try:
        yield socket
    finally:
        context.destroy(linger=0)


async def receive(socket: zmq.Socket[bytes]) -> Any:
    assert await trio.to_thread.run_sync(socket.poll, 20_000), "nothing came"
    return decode_frame(socket.recv(zmq.DONTWAIT))


async def greet(socket: zmq.Socket[bytes]) -> Welcome:
    socket.send(encode(HELLO))
    welcome = await receive(socket)
    assert isinstance(welcome, Welcome)
    return welcome


def ask(id: int, word: Any) -> bytes:
    return encode(Ask(id=id, body=msgspec.Raw(encode(word))))
