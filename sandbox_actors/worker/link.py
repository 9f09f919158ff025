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
- A socket's path may lead to another user's socket. Who listens is looked up before the token is sent, and the
  connection is made to the very socket that was looked at (`find_door`).
- Ids of asks are the daemon's, and two daemons may use the same id, so that tasks have numbers of the link's own.

- A message that cannot be sent, because it is longer than a frame or holds what cannot be encoded, is the error of
  who asked, or the answer; the connection stays as it is.

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
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import zmq

from sandbox_actors.errors import ActorStopped, AnothersDaemon, DaemonUnreachable, NotFound, ProtocolError, SandboxError
from sandbox_actors.protocol.faults import INTERNAL, Fault, error_of, fault_of
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
    body_of,
    decode_answer,
    decode_frame,
    encode,
)
from sandbox_actors.protocol.unix_socket import Door, find_door
from sandbox_actors.protocol.worker_requests import FollowLog, Rejoin, Run, decode_worker_task
from sandbox_actors.version import __version__
from sandbox_actors.worker.daemon_watch import kill_own_processes, open_pidfd

GREETING_TIMEOUT = 20.0
"""Seconds in which the daemon has to answer `Hello`."""

PROBE_TIMEOUT = 1.0
"""Seconds in which a process that listens has to take a connection."""

FAREWELL_TIMEOUT = 2_000
"""Milliseconds that closing a link may take to send its last answer."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two attempts to find the next daemon, growing from the first to the longest: most restarts are
quick."""

_POLLIN, _DONTWAIT = int(zmq.POLLIN), int(zmq.DONTWAIT)
_NO_DAEMON = "the daemon has ended"


@dataclass
class _HostedTask:
    """The run or log that a worker is working on, or has in its queue. `number` is this process's name for the ask;
    `answer` is set when it has ended without a daemon, and could not be written to disk."""

    number: int
    task: Run | FollowLog
    answer: Reply | Failed | None = None


class DaemonLink:
    """`open` greets the daemon, `next_task` returns its asks one by one, `ask` asks it.

    `model_key` names the loaded model; the next daemon is informed of it. The process ends itself when it has had
    neither a daemon nor a run for `grace` seconds.
    """

    def __init__(self, path: str, name: str, token: str, lifeline: int, grace: float) -> None:
        self._hello = Hello(protocol=PROTOCOL_VERSION, version=__version__, name=name, pid=os.getpid(), token=token)
        self._path, self._lifeline, self._grace = path, lifeline, grace
        self.model_key: str | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._daemon = -1
        self._has_daemon = threading.Event()
        self._lock = threading.Lock()
        self._wake_out, self._wake_in = os.pipe()
        self._ids = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[Reply | Failed]] = {}
        self._tasks: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._asked: dict[int, int] = {}  # ids of open asks by number: two daemons may use the same id
        self._hosted: _HostedTask | None = None
        self._free_since = time.monotonic()

    def open(self) -> None:
        """Greet the daemon, then read in a thread. Raises SandboxError if it refuses, or another user listens in its
        place; ends the process if the daemon has ended or does not answer."""
        deadline = time.monotonic() + GREETING_TIMEOUT
        while (door := find_door(self._path, PROBE_TIMEOUT)) is None:
            has_ended, _, _ = select.select([self._lifeline], [], [], FIRST_PAUSE)
            if has_ended or time.monotonic() > deadline:
                kill_own_processes()
        if not self._greet(door, self._lifeline):
            kill_own_processes()
        threading.Thread(target=self._read, name="link", daemon=True).start()

    def close(self) -> None:
        """Flush what was sent, for at most `FAREWELL_TIMEOUT`. The reading thread ends with the process."""
        with self._lock:
            self._socket.close()
        self._context.term()

    # --- what the daemon asks ---

    def next_task(self, timeout: float | None = None) -> tuple[int, Any] | None:
        """The number and message of the daemon's next ask; None if there is none within `timeout` seconds."""
        try:
            return self._tasks.get(timeout=timeout)
        except queue.Empty:
            return None

    def reply(self, number: int, body: Any, is_kept: bool = True) -> None:
        """Answer an ask. `is_kept`: the answer is on disk too, where the next daemon finds it if this one has ended."""
        try:
            answer = Reply(id=0, body=body_of(body))
        except (SandboxError, TypeError, ValueError, OverflowError) as error:
            self.fail(number, error, is_kept)
        else:
            self._answer(number, answer, is_kept)

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

        Where the daemon has met an error of its own, it is asked once more: a request that is sent again has no other
        effect (a report has its position). Raises DaemonUnreachable if there is no daemon, it ends before it has
        answered, or this is a process that a component has forked. Raises Refused if the request is too long.
        """
        if self.is_forked:
            raise DaemonUnreachable("a process that a component has forked cannot reach the daemon")
        body = body_of(request)
        answer = self._ask(body)
        if isinstance(answer, Failed) and answer.fault.code == INTERNAL:
            answer = self._ask(body)
        if isinstance(answer, Failed):
            raise error_of(answer.fault)
        return decode_answer(request, answer.body)

    def _ask(self, body: msgspec.Raw) -> Reply | Failed:
        answers: queue.SimpleQueue[Reply | Failed] = queue.SimpleQueue()
        with self._lock:
            if not self._has_daemon.is_set():
                raise DaemonUnreachable(_NO_DAEMON)
            id = next(self._ids)
            self._waiting[id] = answers
            self._send(Ask(id=id, body=body))
        return answers.get()

    def ask_until_answered(self, request: Request[Answer]) -> Answer:
        """`ask`, and ask the next daemon if this one ends, or does not know the run yet.

        Raises DaemonUnreachable if none has started within `grace` seconds.
        """
        deadline = time.monotonic() + self._grace
        while True:
            try:
                return self.ask(request)
            except (DaemonUnreachable, NotFound):
                if time.monotonic() >= deadline or self.is_forked:
                    raise
            has_come = self._has_daemon.wait(max(0.0, deadline - time.monotonic()))
            if has_come:
                time.sleep(FIRST_PAUSE)  # it needs a moment until it knows the run
                deadline = max(deadline, time.monotonic() + GREETING_TIMEOUT)

    @property
    def is_forked(self) -> bool:
        """Whether this is another process than the one that was started, whose threads and socket it does not have."""
        return os.getpid() != self._hello.pid

    def _send(self, frame: Any) -> None:
        """With the lock held."""
        self._socket.send(encode(frame))
        if self._has_input():  # sending may have consumed the edge that would have woken the reading thread
            os.write(self._wake_in, b"w")

    # --- the reading thread ---

    def _read(self) -> None:
        while True:
            self._until_daemon_ends()
            self._disconnect()
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

    def _disconnect(self) -> None:
        """Drop the connection and fail every open ask. Asks that were not received yet count as never sent."""
        with self._lock:
            if self._hosted is not None and isinstance(self._hosted.task, FollowLog):
                kill_own_processes()  # the log stays on disk: the next daemon starts another log watcher
            self._has_daemon.clear()
            self._socket.close(linger=0)
            self._asked.clear()
            self._free_since = time.monotonic()
        os.close(self._daemon)
        self._daemon = -1
        self._fail_all(fault_of(DaemonUnreachable(_NO_DAEMON)))

    def _find_daemon(self) -> None:
        pause = FIRST_PAUSE
        while not self._has_daemon.is_set():
            is_free = self._hosted is None or self._hosted.answer is not None
            if is_free and time.monotonic() - self._free_since >= self._grace:
                kill_own_processes()
            door = None
            with suppress(AnothersDaemon):  # another user listens there: wait for the daemon of ours
                door = find_door(self._path, PROBE_TIMEOUT)
            if door is not None:
                self._try_daemon(door)
            else:
                time.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)

    def _try_daemon(self, door: Door) -> None:
        """Greet the daemon that listens now. If it does not speak our protocol, the process ends after its run."""
        try:
            end = open_pidfd(door.pid)
        except OSError:
            door.close()  # it has just ended
            return
        try:
            self._greet(door, end)
        except (ProtocolError, msgspec.MsgspecError):
            self._grace = 0.0  # it is of another version, and will not speak our protocol later either
            time.sleep(LONGEST_PAUSE)
        except SandboxError:
            time.sleep(LONGEST_PAUSE)
        finally:
            os.close(end)

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
            self._receive_ask(frame)
        elif isinstance(frame, (Reply, Failed)):
            answers = self._waiting.pop(frame.id, None)
            if answers is not None:
                answers.put(frame)
        elif isinstance(frame, TurnedAway):
            self._fail_all(frame.fault)
        elif not isinstance(frame, Abandon):  # the daemon drops an answer that it no longer needs
            self._fail_all(fault_of(ActorStopped(f"the daemon sent {type(frame).__name__}")))

    def _receive_ask(self, ask: Ask) -> None:
        """Queue an ask. `Rejoin` is answered here, because the main thread is busy with the run that it is about."""
        number = next(self._ids)
        with self._lock:
            self._asked[number] = ask.id  # before the task is queued: the main thread may answer it at once
        try:
            task = decode_worker_task(ask.body)
            if isinstance(task, Rejoin):
                self._rejoin(number, task.run)
                return
        except (msgspec.MsgspecError, ValueError, RecursionError, NotFound) as error:
            self.fail(number, error)
            return
        if isinstance(task, (Run, FollowLog)):
            self._hosted = _HostedTask(number, task)
        self._tasks.put((number, task))

    def _rejoin(self, number: int, run: str) -> None:
        """Give the answer of the hosted run to ask `number`. Raises NotFound if the run is not hosted here."""
        with self._lock:
            hosted = self._hosted
            if hosted is None or hosted.task.run != run:
                raise NotFound(f"run {run} has ended, or was never started here")
            self._asked[hosted.number] = self._asked.pop(number)
            answer = hosted.answer
        if answer is not None:
            self._answer(hosted.number, answer, is_kept=False)

    def _fail_all(self, fault: Fault) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for answers in waiting.values():
            answers.put(Failed(id=0, fault=fault))

    # --- greetings ---

    def _greet(self, door: Door, end: int) -> bool:
        """Send Hello to the daemon behind `door`, wait for Welcome, and close the door. False if the daemon ended
        (`end` is then readable) or did not answer in time. Raises SandboxError if the daemon refuses."""
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, FAREWELL_TIMEOUT)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        try:
            socket.connect(f"ipc://{door.address}")
            pid = self._exchange_greetings(socket, end)
            self._daemon = -1 if pid is None else open_pidfd(pid)
        except OSError:  # it has just ended
            self._daemon = -1
        finally:
            door.close()
            if self._daemon < 0:
                socket.close(linger=0)
        if self._daemon < 0:
            return False
        with self._lock:
            self._socket = socket
            self._has_daemon.set()
        return True

    def _exchange_greetings(self, socket: zmq.Socket[bytes], end: int) -> int | None:
        """The pid of the daemon that welcomes this worker; None if it ended, or did not answer in time."""
        hosted = self._hosted
        run = hosted.task.run if hosted is not None else ""
        socket.send(encode(msgspec.structs.replace(self._hello, run=run, model_key=self.model_key)))
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(end, zmq.POLLIN)
        ready = dict(poller.poll(int(GREETING_TIMEOUT * 1000)))
        if end in ready or not ready:
            return None
        answer = decode_frame(socket.recv())
        if isinstance(answer, TurnedAway):
            raise error_of(answer.fault)
        if not isinstance(answer, Welcome):
            raise ProtocolError(f"the daemon answered {type(answer).__name__} to Hello")
        return answer.pid
