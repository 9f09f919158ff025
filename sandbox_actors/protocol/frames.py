"""The frames themselves: a greeting, asks and their answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar, get_args

import msgspec

from sandbox_actors.errors import ProtocolError, Refused
from sandbox_actors.protocol.faults import Fault

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)

PROTOCOL_VERSION = 1

MAX_FRAME = 16 * 1024 * 1024
"""Bytes. The sender of a longer frame is disconnected before the frame is decoded."""


FRAME_ROOM = 1024
"""Bytes of a frame beside the message in it."""

NO_ASK = 0
"""The id in a `Failed` that answers no ask, because the id of the message could not be read."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """Base of everything on the wire; the tag is the class name."""


class Request(Message, Generic[Answer_co], frozen=True, kw_only=True):
    """Base of all requests. A subclass names the type of its answer: `class Show(Request[ExperimentDetail])`."""


def decode_answer(request: Request[Answer], body: msgspec.Raw) -> Answer:
    """The answer to `request` from its encoded form. Raises ProtocolError if it is not of that type."""
    try:
        answer: Answer = _answer_decoder(type(request)).decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not an answer to {type(request).__name__}: {error}") from error
    return answer


@cache
def _answer_decoder(kind: type[Request[Any]]) -> msgspec.msgpack.Decoder[Any]:
    (answer,) = get_args(kind.__orig_bases__[0])  # type: ignore[attr-defined]
    return msgspec.msgpack.Decoder(answer)


class Hello(Message, frozen=True, kw_only=True):
    """First frame of every peer. `token` is what a worker read from its inherited descriptor; clients have none.

    A worker whose daemon has ended informs the next one of what it hosts: `run`, which is running or whose answer it
    still holds, and `model_key`, the loaded model: "" for a component that loads none, None before its first run.
    """

    protocol: int
    version: str
    name: str
    pid: int
    token: str = ""
    run: str = ""
    model_key: str | None = None


class Welcome(Message, frozen=True, kw_only=True):
    protocol: int
    version: str
    pid: int


class TurnedAway(Message, frozen=True, kw_only=True):
    """Answer to a `Hello`, or to a frame that broke the protocol. Further frames of the sender are ignored."""

    fault: Fault
    protocol: int
    version: str


class Reply(Message, frozen=True, kw_only=True):
    id: int
    body: msgspec.Raw


class Failed(Message, frozen=True, kw_only=True):
    id: int
    fault: Fault


class Abandon(Message, frozen=True, kw_only=True):
    """The sender of ask `id` no longer waits for the answer."""

    id: int


class Ask(Message, frozen=True, kw_only=True):
    """`body` is a ClientRequest, a WorkerRequest or a WorkerTask, decoded by the receiver, which knows which."""

    id: int
    body: msgspec.Raw


Frame = Hello | Welcome | TurnedAway | Ask | Reply | Failed | Abandon

encode = msgspec.msgpack.Encoder().encode
decode_frame: Callable[[bytes], Frame] = msgspec.msgpack.Decoder(Frame).decode


def body_of(message: object) -> msgspec.Raw:
    """A message as the body of a frame. Raises Refused if none can hold it, and what the encoder raises."""
    body = encode(message)
    if len(body) > MAX_FRAME - FRAME_ROOM:
        name = type(message).__name__
        raise Refused(f"a {name} of {len(body):,} bytes cannot be sent, the limit is {MAX_FRAME:,}; write it to a file")
    return msgspec.Raw(body)
