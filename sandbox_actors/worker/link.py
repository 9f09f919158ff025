"""A worker's connection to the daemon: a DEALER socket that a thread reads and any thread may write.

A zmq socket may change threads under a lock, never be used by two at once. So the reading thread sleeps on the
socket's file descriptor, not in a zmq call, and takes the lock only to drain it; an answer is sent by the thread that
has it, which saves a hop through the reading thread.
"""

from __future__ import annotations

import itertools
import os
import queue
import select
import signal
import threading
from typing import Any, NoReturn

import msgspec
import zmq

from sandbox_actors import __version__
from sandbox_actors.errors import ActorStopped, ProtocolError
from sandbox_actors.messages import (
    MAX_FRAME,
    PROTOCOL_VERSION,
    Abandon,
    Ask,
    Failed,
    Fault,
    Hello,
    Reply,
    TurnedAway,
    Welcome,
    decode_frame,
    decode_worker_task,
    encode,
    error_of,
    fault_of,
)

GREETING_TIMEOUT = 20.0
"""Seconds in which the daemon has to answer `Hello`."""

FAREWELL_TIMEOUT = 2_000
"""Milliseconds that a closing link takes to hand over its last answer."""

_POLLIN, _DONTWAIT = int(zmq.POLLIN), int(zmq.DONTWAIT)


class Link:
    """`open` greets the daemon, `next_task` gives its asks one by one, `ask` asks it. Ends the process with it."""

    def __init__(self, path: str, name: str, token: str, lifeline: int) -> None:
        self._hello = Hello(protocol=PROTOCOL_VERSION, version=__version__, name=name, pid=os.getpid(), token=token)
        self._lifeline = lifeline
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, FAREWELL_TIMEOUT)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        self._socket.connect(f"ipc://{path}")
        self._lock = threading.Lock()
        self._wake_out, self._wake_in = os.pipe()
        self._ids = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[Reply | Failed]] = {}
        self._tasks: queue.SimpleQueue[Ask] = queue.SimpleQueue()

    def open(self) -> None:
        """Greet the daemon, then read on in a thread. Raises ProtocolError where the daemon says no, or nothing."""
        self._socket.send(encode(self._hello))
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._lifeline, zmq.POLLIN)
        ready = dict(poller.poll(int(GREETING_TIMEOUT * 1000)))
        if self._lifeline in ready:
            _end_with_daemon()
        if not ready:
            raise ProtocolError(f"the daemon has not answered within {GREETING_TIMEOUT:g} seconds")
        answer = decode_frame(self._socket.recv())
        if isinstance(answer, TurnedAway):
            raise error_of(answer.fault)
        if not isinstance(answer, Welcome):
            raise ProtocolError(f"the daemon answered {type(answer).__name__} to Hello")
        threading.Thread(target=self._read, name="link", daemon=True).start()

    def close(self) -> None:
        """Hand over what was sent. The reading thread ends with the process."""
        with self._lock:
            self._socket.close()
        self._context.term()

    def next_task(self, timeout: float | None = None) -> tuple[int, Any] | None:
        """The id and message of the daemon's next ask; None when none came in `timeout` seconds."""
        try:
            ask = self._tasks.get(timeout=timeout)
        except queue.Empty:
            return None
        return ask.id, decode_worker_task(ask.body)

    def reply(self, id: int, body: Any) -> None:
        self._send(Reply(id=id, body=msgspec.Raw(encode(body))))

    def fail(self, id: int, error: BaseException) -> None:
        self._send(Failed(id=id, fault=fault_of(error)))

    def ask(self, message: Any) -> msgspec.Raw:
        """Send `message` and wait for the answer, still encoded. For any thread but the reading one."""
        id = next(self._ids)
        answers = self._waiting[id] = queue.SimpleQueue()
        self._send(Ask(id=id, body=msgspec.Raw(encode(message))))
        answer = answers.get()
        if isinstance(answer, Failed):
            raise error_of(answer.fault)
        return answer.body

    def _send(self, frame: Any) -> None:
        with self._lock:
            self._socket.send(encode(frame))
            is_wakeup_eaten = self._has_input()
        if is_wakeup_eaten:
            os.write(self._wake_in, b"w")

    def _read(self) -> None:
        poller = select.poll()
        for descriptor in (int(self._socket.FD), self._lifeline, self._wake_out):
            poller.register(descriptor, select.POLLIN)
        self._drain()
        while True:
            for descriptor, _ in poller.poll():
                if descriptor == self._lifeline:
                    _end_with_daemon()
                if descriptor == self._wake_out:
                    os.read(self._wake_out, 4096)
            self._drain()

    def _drain(self) -> None:
        while True:
            with self._lock:
                if self._socket.closed or not self._has_input():
                    return
                data = self._socket.recv(_DONTWAIT)
            self._dispatch(decode_frame(data))

    def _has_input(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & _POLLIN)

    def _dispatch(self, frame: Any) -> None:
        if isinstance(frame, Ask):
            self._tasks.put(frame)
        elif isinstance(frame, (Reply, Failed)):
            answers = self._waiting.pop(frame.id, None)
            if answers is not None:
                answers.put(frame)
        elif isinstance(frame, TurnedAway):
            self._end_all(frame.fault)
        elif not isinstance(frame, Abandon):  # nobody waits for that answer: it is dropped on arrival
            self._end_all(fault_of(ActorStopped(f"the daemon sent {type(frame).__name__}")))

    def _end_all(self, fault: Fault) -> None:
        waiting, self._waiting = self._waiting, {}
        for answers in waiting.values():
            answers.put(Failed(id=0, fault=fault))


def _end_with_daemon() -> NoReturn:
    """The lifeline has ended: nobody is left who could take a result. End the whole process group, children too."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
