"""Peers that write to a router byte by byte, to send what no library would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from sandbox_actors.protocol.frames import MAX_FRAME, TurnedAway, decode_frame
from sandbox_actors.transport.zmtp import OPENING, Decoder

DEALER_OPENING = OPENING.replace(b"\6ROUTER", b"\6DEALER")


@asynccontextmanager
async def raw_peer(path: Path, *sent: bytes) -> AsyncIterator[trio.SocketStream]:
    async with await trio.open_unix_socket(path) as stream:
        for data in sent:
            await stream.send_all(data)
        yield stream


async def last_words(stream: trio.SocketStream) -> TurnedAway:
    """The reason that a peer is sent before its connection is closed."""
    decoder, messages = Decoder(MAX_FRAME), []
    async for data in stream:
        messages += decoder.feed(data)
    farewell = decode_frame(messages[-1])
    assert isinstance(farewell, TurnedAway)
    return farewell


async def send_for_ever(stream: trio.SocketStream, data: bytes) -> None:
    while True:
        await stream.send_all(data)


async def until(is_so: Callable[[], object]) -> None:
    """Poll until `is_so`, within the time limit of the test."""
    while not is_so():  # noqa: ASYNC110  # the condition depends on other processes, or on a task that sets no event
        await trio.sleep(0.001)
