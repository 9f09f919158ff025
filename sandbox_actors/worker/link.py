"""A worker's connection to the daemon: a DEALER socket that one thread reads and any thread may write.

Theory of operation. Three kinds of threads use a link. The main thread takes tasks from `next_task` and answers them;
any thread but the reading one may `ask`, and blocks until its answer is there; the reading thread, which the link owns,
receives every frame. A component may hold the GIL for a long time: nothing here depends on being scheduled soon.

- The lock guards the socket, the open asks in both directions, and the answer of the run that is hosted. A ZeroMQ
  socket may move between threads under a lock, but must never be used by two at once. So the reading thread sleeps on
  the descriptor, not in a ZeroMQ call, and takes the lock only to drain the socket. An answer is sent by the thread
  that has it, which saves a switch to the reading thread.
- The descriptor is edge-triggered, and any call on the socket may consume the edge: after each send, under the lock,
  the sender looks for input and wakes the reading thread through a pipe.
- The process of the daemon is watched through a pidfd. When it ends, every open ask fails with DaemonUnreachable, and
  the reading thread looks for the next daemon, greets it, and says which run is under way. The main thread is not
  disturbed: its answer is sent to the daemon that is there when the run ends. Without one, it is on disk (`is_kept`),
  or is held in `_hosted` until a daemon sends `Rejoin`.
- Ids of asks are the daemon's, and two daemons may use the same id, so that tasks have numbers of the link's own.

Guaranteed: every `ask` ends when it is answered or the daemon ends; an answer goes to the daemon that asked, or took
the run up, and to no other; without a daemon for `grace` seconds and without a run, the process ends with everything
that it started.

What failed: ZeroMQ's heartbeats do not notice a process whose GIL is held, and a killed process whose forked child
still holds the socket looks alive: hence the pidfd. Waiting for the descriptor and receiving once per wake-up got 1 of
2,000 messages and then hung: hence draining.
"""

from __future__ import annotations

import itertools
import os
import queue
import select
import threading
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import zmq

from sandbox_actors.errors import ActorStopped, DaemonUnreachable, NotFound, ProtocolError, SandboxError
from sandbox_actors.protocol.faults import Fault, error_of, fault_of
from sandbox_actors.protocol.frames import (
    MAX_FRAME,
    PROTOCOL_VERSION,
    Abandon,
    Answer,
    Ask,
    Failed,
    Hello,
    Reply,
    Request,
    TurnedAway,
    Welcome,
    decode_answer,
    decode_frame,
    encode,
)
from sandbox_actors.protocol.unix_socket import listener
from sandbox_actors.protocol.worker_requests import FollowLog, Rejoin, Run, decode_worker_task
from sandbox_actors.version import __version__
from sandbox_actors.worker.daemon_watch import end_family, watched

GREETING_TIMEOUT = 20.0
"""Seconds in which the daemon has to answer `Hello`."""

FAREWELL_TIMEOUT = 2_000
"""Milliseconds that a closing link takes to hand over its last answer."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two looks for the next daemon: the first is there soon, or nobody knows when."""

_POLLIN, _DONTWAIT = int(zmq.POLLIN), int(zmq.DONTWAIT)
_NOBODY = "the daemon has ended"


@dataclass
class _Hosted:
    """The task that a worker is in, or has in its queue. `number` is what this process calls it; `answer` is set where
    it has ended, nobody waits for that, and it could not be kept on disk."""

    number: int
    task: Run | FollowLog
    answer: Reply | Failed | None = None


class Link:
    """`open` greets the daemon, `next_task` gives its asks one by one, `ask` asks it.

    `model_key` is what the process has loaded, for the next daemon to know. Without a daemon for `grace` seconds, and
    without a run, the process ends itself.
    """

    def __init__(self, path: str, name: str, token: str, lifeline: int, grace: float) -> None:
        self._hello = Hello(protocol=PROTOCOL_VERSION, version=__version__, name=name, pid=os.getpid(), token=token)
        self._path, self._lifeline, self._grace = path, lifeline, grace
        self.model_key: str | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._connect()
        self._daemon = -1
        self._has_daemon = threading.Event()
        self._lock = threading.Lock()
        self._wake_out, self._wake_in = os.pipe()
        self._ids = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[Reply | Failed]] = {}
        self._tasks: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._asked: dict[int, int] = {}  # ids of open asks by number: two daemons may use the same id
        self._hosted: _Hosted | None = None
        self._free_since = time.monotonic()

    def open(self) -> None:
        """Greet the daemon, then read on in a thread. Raises SandboxError where it says no; the process ends where the
        daemon does, or says nothing."""
        if not self._greet(self._socket, self._lifeline):
            end_family()
        threading.Thread(target=self._read, name="link", daemon=True).start()

    def close(self) -> None:
        """Hand over what was sent. The reading thread ends with the process."""
        with self._lock:
            self._socket.close()
        self._context.term()

    # --- what the daemon asks ---

    def next_task(self, timeout: float | None = None) -> tuple[int, Any] | None:
        """The number and message of the daemon's next ask; None when none came in `timeout` seconds."""
        try:
            return self._tasks.get(timeout=timeout)
        except queue.Empty:
            return None

    def reply(self, number: int, body: Any, is_kept: bool = True) -> None:
        """Answer an ask. `is_kept`: the next daemon finds the answer on disk where this one is gone."""
        self._answer(number, Reply(id=0, body=msgspec.Raw(encode(body))), is_kept)

    def fail(self, number: int, error: BaseException, is_kept: bool = True) -> None:
        self._answer(number, Failed(id=0, fault=fault_of(error)), is_kept)

    def _answer(self, number: int, answer: Reply | Failed, is_kept: bool) -> None:
        with self._lock:
            id = self._asked.pop(number, None)
            if self._hosted is not None and self._hosted.number == number:
                self._free_since = time.monotonic()
                if id is None and not is_kept:
                    self._hosted.answer = answer
                    return
                self._hosted = None
            if id is not None:
                self._send(msgspec.structs.replace(answer, id=id))

    # --- what the daemon is asked ---

    def ask(self, request: Request[Answer]) -> Answer:
        """Send `request` and wait for its answer. For any thread but the reading one.

        Raises DaemonUnreachable where there is no daemon, or it ends before it has answered.
        """
        answers: queue.SimpleQueue[Reply | Failed] = queue.SimpleQueue()
        with self._lock:
            if not self._has_daemon.is_set():
                raise DaemonUnreachable(_NOBODY)
            id = next(self._ids)
            self._waiting[id] = answers
            self._send(Ask(id=id, body=msgspec.Raw(encode(request))))
        answer = answers.get()
        if isinstance(answer, Failed):
            raise error_of(answer.fault)
        return decode_answer(request, answer.body)

    def ask_until_answered(self, request: Request[Answer]) -> Answer:
        """`ask`, and ask the next daemon where this one ends, or does not know the run yet.

        Raises DaemonUnreachable where none has come in `grace` seconds.
        """
        deadline = time.monotonic() + self._grace
        while True:
            try:
                return self.ask(request)
            except (DaemonUnreachable, NotFound):
                if time.monotonic() >= deadline:
                    raise
            has_come = self._has_daemon.wait(max(0.0, deadline - time.monotonic()))
            if has_come:
                time.sleep(FIRST_PAUSE)
                deadline = max(deadline, time.monotonic() + GREETING_TIMEOUT)

    def _send(self, frame: Any) -> None:
        """With the lock held."""
        self._socket.send(encode(frame))
        if self._has_input():  # sending may have eaten the wake-up of the reading thread
            os.write(self._wake_in, b"w")

    # --- the reading thread ---

    def _read(self) -> None:
        while True:
            self._until_daemon_ends()
            self._lose_daemon()
            self._find_daemon()

    def _until_daemon_ends(self) -> None:
        poller = select.poll()
        for descriptor in (int(self._socket.FD), self._daemon, self._wake_out):
            poller.register(descriptor, select.POLLIN)
        self._drain()
        while True:
            for descriptor, _ in poller.poll():
                if descriptor == self._daemon:
                    return
                if descriptor == self._wake_out:
                    os.read(self._wake_out, 4096)
            self._drain()

    def _lose_daemon(self) -> None:
        """Nobody waits for answers now, and nobody answers. What was not taken from the socket was never asked."""
        with self._lock:
            if self._hosted is not None and isinstance(self._hosted.task, FollowLog):
                end_family()  # the log stays, and another log watcher goes on with it
            self._has_daemon.clear()
            self._socket.close(linger=0)
            self._asked.clear()
            self._free_since = time.monotonic()
        os.close(self._daemon)
        self._end_all(fault_of(DaemonUnreachable(_NOBODY)))

    def _find_daemon(self) -> None:
        pause = FIRST_PAUSE
        while not self._has_daemon.is_set():
            is_free = self._hosted is None or self._hosted.answer is not None
            if is_free and time.monotonic() - self._free_since >= self._grace:
                end_family()
            daemon = listener(self._path, timeout=1.0)
            if daemon is not None:
                self._try_daemon(daemon.pid)
            else:
                time.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)

    def _try_daemon(self, pid: int) -> None:
        """Greet the daemon that listens now. For one that says no, nothing is waited for after the run."""
        try:
            end = watched(pid)
        except OSError:
            return  # it has ended meanwhile
        socket = self._connect()
        try:
            self._greet(socket, end)
        except (ProtocolError, msgspec.MsgspecError):
            self._grace = 0.0
            time.sleep(LONGEST_PAUSE)
        except SandboxError:
            time.sleep(LONGEST_PAUSE)
        finally:
            os.close(end)
            if socket is not self._socket:
                socket.close(linger=0)

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
            self._take(frame)
        elif isinstance(frame, (Reply, Failed)):
            answers = self._waiting.pop(frame.id, None)
            if answers is not None:
                answers.put(frame)
        elif isinstance(frame, TurnedAway):
            self._end_all(frame.fault)
        elif not isinstance(frame, Abandon):  # nobody waits for that answer: it is dropped on arrival
            self._end_all(fault_of(ActorStopped(f"the daemon sent {type(frame).__name__}")))

    def _take(self, ask: Ask) -> None:
        """Put an ask into the queue; what concerns the run under way is answered here, as the main thread is in it."""
        number = next(self._ids)
        with self._lock:
            self._asked[number] = ask.id
        try:
            task = decode_worker_task(ask.body)
            if isinstance(task, Rejoin):
                self._rejoin(number, task.run)
                return
        except (msgspec.MsgspecError, NotFound) as error:
            self.fail(number, error)
            return
        if isinstance(task, (Run, FollowLog)):
            self._hosted = _Hosted(number, task)
        self._tasks.put((number, task))

    def _rejoin(self, number: int, run: str) -> None:
        """Let ask `number` have the answer of a run that is under way. Raises NotFound where it has ended."""
        with self._lock:
            hosted = self._hosted
            if hosted is None or hosted.task.run != run:
                raise NotFound(f"run {run} has ended, or never began here")
            self._asked[hosted.number] = self._asked.pop(number)
            answer = hosted.answer
        if answer is not None:
            self._answer(hosted.number, answer, is_kept=False)

    def _end_all(self, fault: Fault) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for answers in waiting.values():
            answers.put(Failed(id=0, fault=fault))

    # --- greetings ---

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, FAREWELL_TIMEOUT)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        socket.connect(f"ipc://{self._path}")
        return socket

    def _greet(self, socket: zmq.Socket[bytes], end: int) -> bool:
        """Say Hello, and have the daemon from its Welcome on. False where `end` became readable, as it does when the
        daemon ends, or no answer came in time. Raises SandboxError where the daemon says no."""
        hosted = self._hosted
        run = hosted.task.run if hosted is not None else ""
        socket.send(encode(msgspec.structs.replace(self._hello, run=run, model_key=self.model_key)))
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(end, zmq.POLLIN)
        ready = dict(poller.poll(int(GREETING_TIMEOUT * 1000)))
        if end in ready or not ready:
            return False
        answer = decode_frame(socket.recv())
        if isinstance(answer, TurnedAway):
            raise error_of(answer.fault)
        if not isinstance(answer, Welcome):
            raise ProtocolError(f"the daemon answered {type(answer).__name__} to Hello")
        try:
            self._daemon = watched(answer.pid)
        except OSError:
            return False
        with self._lock:
            self._socket = socket
            self._has_daemon.set()
        return True
