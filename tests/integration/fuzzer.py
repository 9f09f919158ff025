"""`python fuzzer.py SOCKET SEED COUNT` sends COUNT malformed messages, and prints the kinds and numbers of connections.

It fails if the daemon does not close a connection within `CLOSE_TIMEOUT` seconds. The seed determines the messages:
random bytes, valid messages truncated or with flipped bits, correct fields with wrong types, deep nesting, forged
lengths inside of messages and of frames, wrong order, multipart messages, and stolen names.
"""

from __future__ import annotations

import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from sandbox_actors.protocol.client_requests import (
    CancelExperiment,
    Changes,
    Forecast,
    ListExperiments,
    ListWorkers,
    ReadLog,
    ReadMetrics,
    Show,
    Submit,
)
from sandbox_actors.protocol.faults import Fault
from sandbox_actors.protocol.frames import (
    PROTOCOL_VERSION,
    Abandon,
    Ask,
    Failed,
    Hello,
    Reply,
    TurnedAway,
    Welcome,
    encode,
)
from sandbox_actors.protocol.rows import Point
from sandbox_actors.protocol.worker_requests import Report
from sandbox_actors.transport.gateway import MALFORMED_LIMIT
from sandbox_actors.transport.zmtp import DEALER_OPENING, framed

CLOSE_TIMEOUT = 30.0
AT_ONCE = 8

IDENTITY_OPENING = DEALER_OPENING[:64] + b"\4\x33\5READY\x0bSocket-Type\0\0\0\6DEALER\x08Identity\0\0\0\x08worker-1"

HELLO = Hello(protocol=PROTOCOL_VERSION, version="0", name="fuzz", pid=1)
FAULT = Fault(code="internal", message="m", kind="k", traceback="t")

REQUESTS = [
    Submit(definition={"pipelines": [{"a": {}}]}, source="f.yaml", cwd="/", environ={"WANDB_MODE": "disabled"}),
    Forecast(definition={"pipelines": []}, cwd="/"),
    ListExperiments(),
    ListWorkers(),
    Show(experiment="@"),
    Changes(experiment="no such", after=1),
    ReadLog(experiment="no such", job="j", offset=7),
    ReadMetrics(experiment="no such", name="loss"),
    CancelExperiment(experiment="no such"),
    Report(run="no such", source="s", position=1, points=[Point(name="loss", value=1.0, step=3)]),
]
ASKS = [Ask(id=id, body=msgspec.Raw(encode(request))) for id, request in enumerate(REQUESTS, 1)]
OUT_OF_ORDER = [
    Welcome(protocol=PROTOCOL_VERSION, version="0", pid=1),
    TurnedAway(fault=FAULT, protocol=PROTOCOL_VERSION, version="0"),
    HELLO,
]
VALID = [encode(frame) for frame in [*ASKS, *OUT_OF_ORDER, Reply(id=3, body=msgspec.Raw(b"\xc0")), Abandon(id=3)]]
VALID.append(encode(Failed(id=3, fault=FAULT)))

Make = Callable[[random.Random], bytes]


def noise(draw: random.Random) -> bytes:
    return draw.randbytes(draw.randrange(80))


def cut_short(draw: random.Random) -> bytes:
    frame = draw.choice(VALID)
    return frame[: draw.randrange(len(frame))]


def flipped(draw: random.Random) -> bytes:
    frame = bytearray(draw.choice(VALID))
    for _ in range(draw.randrange(1, 4)):
        frame[draw.randrange(len(frame))] ^= 1 << draw.randrange(8)
    return bytes(frame)


def mistyped(draw: random.Random) -> bytes:
    """A message with all its fields, one of which has another type."""
    frame = msgspec.msgpack.decode(draw.choice(VALID))
    frame[draw.choice(list(frame))] = draw.choice([None, True, -1, 1 << 63, 1.5, "x", b"x", [], {}, [[]], {"": {}}])
    return encode(frame)


def mistyped_request(draw: random.Random) -> bytes:
    request = msgspec.to_builtins(draw.choice(REQUESTS))
    request[draw.choice(list(request))] = draw.choice([None, False, -1, 1 << 63, float("nan"), "x", b"x", [], {}])
    return encode(Ask(id=draw.randrange(1 << 30), body=msgspec.Raw(encode(request))))


def nested(draw: random.Random) -> bytes:
    deep = draw.choice([b"\x91", b"\x81\xa1x", b"\x81\xa4type"]) * draw.randrange(500, 900) + b"\xc0"
    return deep if draw.random() < 0.5 else encode(Ask(id=1, body=msgspec.Raw(deep)))


def forged(draw: random.Random) -> bytes:
    """A container or text with a length greater than all the data that follows."""
    head = draw.choice([b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"]) + draw.randbytes(4)
    return head if draw.random() < 0.5 else b"\x82\xa4type\xa3Ask\xa2id" + head


def out_of_order(draw: random.Random) -> bytes:
    return encode(draw.choice(OUT_OF_ORDER))


def stolen(draw: random.Random) -> bytes:
    """A greeting with the name of another peer."""
    hello = Hello(protocol=draw.choice([1, 1, 2, -1]), version="9", name="worker-1", pid=draw.randrange(99), token="0")
    return encode(hello)


def bomb(draw: random.Random) -> bytes:
    """Small on the wire, large when decoded: empty maps in a submission."""
    count = draw.randrange(2_000, 3_500)
    maps = msgspec.Raw(b"\xdc" + count.to_bytes(2, "big") + b"\x80" * count)
    return encode(Ask(id=1, body=msgspec.Raw(encode(Submit(definition=maps, source="", cwd="/")))))


MESSAGES: list[Make] = [
    noise, cut_short, flipped, mistyped, mistyped_request, nested, forged, out_of_order, stolen, bomb,
]  # fmt: skip
WEIGHTS = [30, 25, 25, 20, 20, 3, 15, 10, 10, 1]


def invalid_frames(draw: random.Random) -> bytes:
    """Frames that end a connection at once: multipart messages, forged lengths, undefined flags."""
    return draw.choice(
        [
            b"\1\4part" * 50,
            b"\3" + (1 << 14).to_bytes(8, "big") + draw.randbytes(1 << 14),
            b"\2" + draw.randbytes(8),
            b"\2" + b"\xff" * 8,
            bytes([draw.randrange(8, 256)]) + draw.randbytes(20),
            b"\5\4more",
        ]
    )


def conversations(draw: random.Random) -> Iterator[tuple[str, bytes, int]]:
    """An endless series of connections: the name, the bytes, and the number of malformed messages of each."""
    while True:
        kind = draw.random()
        if kind < 0.02:
            yield "no handshake", draw.randbytes(draw.randrange(1, 200)), 1
            continue
        opening = IDENTITY_OPENING if kind < 0.1 else DEALER_OPENING
        if kind < 0.55:
            opening += framed(encode(HELLO))
        if kind < 0.14:
            yield "invalid frames", opening + invalid_frames(draw), 1
            continue
        batch = draw.choices(MESSAGES, WEIGHTS, k=MALFORMED_LIMIT)
        name = "after a greeting" if kind < 0.55 else "without a greeting"
        yield name, opening + b"".join([framed(make(draw)) for make in batch]), MALFORMED_LIMIT


def main(path: str, seed: int, count: int) -> None:
    sent, kinds, slowest = 0, Counter[str](), 0.0
    connections = conversations(random.Random(seed))
    while sent < count:
        opened = []
        for _ in range(AT_ONCE):
            name, data, messages = next(connections)
            opened.append(send(path, data))
            sent += messages
            kinds[name] += 1
        for connection in opened:
            slowest = max(slowest, wait_closed(connection))
    print(f"{sent} messages, {dict(kinds)} connections, {slowest * 1e3:.0f} ms until the slowest was closed")


def send(path: str, data: bytes) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(CLOSE_TIMEOUT)
    connection.connect(path)
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the daemon has closed the connection already
    return connection


def wait_closed(connection: socket.socket) -> float:
    """Read until the daemon closes the connection; returns the seconds that it took. Raises TimeoutError."""
    started = time.monotonic()
    with connection:
        try:
            while connection.recv(65_536):
                pass
        except ConnectionResetError:
            pass
    return time.monotonic() - started


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
