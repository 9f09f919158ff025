"""A ROUTER socket in a thread that gives the answers of a test, such as no real daemon gives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from sandbox_actors.protocol.frames import PROTOCOL_VERSION, Hello, Welcome, decode_frame, encode
from sandbox_actors.version import __version__

Answer = Callable[[Any], list[bytes]]


def welcoming(answer: Answer) -> Answer:
    """`answer` for everything but `Hello`, which is answered as by a daemon."""

    def welcome(frame: Any) -> list[bytes]:
        if isinstance(frame, Hello):
            return [encode(Welcome(protocol=PROTOCOL_VERSION, version=__version__, pid=os.getpid()))]
        return answer(frame)

    return welcome


@contextmanager
def scripted_daemon(path: Path, answer: Answer) -> Iterator[list[Any]]:
    """Serve `path`: send what `answer` returns for each frame. Yields the frames received so far."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{path}")
    stop_in, stop_out = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    stop_in.bind("inproc://stop")
    stop_out.connect("inproc://stop")
    received: list[Any] = []

    def serve() -> None:
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        poller.register(stop_out, zmq.POLLIN)
        while stop_out not in dict(poller.poll()):
            peer, data = router.recv_multipart()
            received.append(decode_frame(data))
            for frame in answer(received[-1]):
                router.send_multipart([peer, frame])
        router.close(linger=0)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield received
    finally:
        stop_in.send(b"")
        thread.join()
        context.destroy(linger=0)
