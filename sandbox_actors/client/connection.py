"""A blocking connection to the daemon, for synchronous programs.

A caller never waits for a dead daemon: a closed connection is noticed at once. A daemon that sends nothing for
`SILENCE` seconds is asked for its status, and is reported as stopped or stuck after as many seconds more.
"""

from __future__ import annotations

import itertools
import mmap
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from sandbox_actors.client.remote import SERVER_KEY_VARIABLE, Remote
from sandbox_actors.errors import (
    ConfigError,
    DaemonEnds,
    DaemonUnreachable,
    Problem,
    ProtocolError,
    Refused,
    SandboxError,
)
from sandbox_actors.protocol.client_requests import GetStatus
from sandbox_actors.protocol.faults import Fault, error_of
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
from sandbox_actors.protocol.texts import bounded
from sandbox_actors.protocol.unix_socket import Door, find_door
from sandbox_actors.version import __version__

GREETING_TIMEOUT = 10.0
"""Seconds that a daemon has to answer `Hello`."""

SILENCE = 10.0
"""Seconds without a message after which the daemon is asked for its status, and that it then has to answer."""

LOST = int(zmq.EVENT_DISCONNECTED)
LOST_OR_REFUSED = LOST | zmq.EVENT_CLOSED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
"""Events of libzmq: a connection was lost, and a connection over TCP was not established."""

FILES = 12
STACKS = 32 << 20
"""Descriptors that libzmq opens for one connection, and the bytes of address space of its threads."""

LINGER = 500
"""Milliseconds that closing waits at most for messages to be sent."""


class Connection:
    """Connected and greeted when created; the caller must `close` it. For one thread at a time.

    Raises DaemonUnreachable if no daemon answers, ProtocolError if the peer does not speak this protocol.
    """

    def __init__(self, place: Path | Remote) -> None:
        self._place = place
        self._ids = itertools.count(1)
        self._is_greeted = False
        self._door: Door | None = None
        if isinstance(place, Path):
            self._door = find_door(place, GREETING_TIMEOUT)
            if self._door is None:
                raise DaemonUnreachable(f"no daemon answers at {place}; `sandbox daemon start` starts one")
        _require_room()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        self._monitor = self._socket.get_monitor_socket(LOST if isinstance(place, Path) else LOST_OR_REFUSED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self._connect(place)
            self.daemon = self._greet()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The process of a daemon on this machine."""
        return self._door.pid if self._door else None

    def _connect(self, place: Path | Remote) -> None:
        if not isinstance(place, Remote):
            assert self._door is not None
            self._endpoint = f"pid {self.pid}"
            self._peer, self._advice = f"the daemon (pid {self.pid})", f"if this does not change, `kill {self.pid}`"
            self._socket.connect(f"ipc://{self._door.address}")
            return
        self._endpoint = place.address
        self._peer, self._advice = f"the daemon at {place.address}", "look at its log on its machine"
        self._socket.setsockopt(zmq.CURVE_SERVERKEY, bytes.fromhex(place.server_key))
        self._socket.setsockopt(zmq.CURVE_PUBLICKEY, bytes.fromhex(place.pair.public))
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, bytes.fromhex(place.pair.secret))
        try:
            self._socket.connect(place.address)
        except zmq.ZMQError as error:
            raise DaemonUnreachable(f"{place.address}: {error}") from error

    def close(self) -> None:
        self._context.destroy(linger=LINGER)
        if self._door is not None:
            self._door.close()

    def ask(self, request: Request[Answer]) -> Answer:
        """Send `request`, wait for its answer however long it takes, and decode it.

        Raises what the daemon raised, or DaemonUnreachable. When it is interrupted, the daemon abandons the request.
        """
        frame: Reply | Failed | None = None
        id = next(self._ids)
        try:
            self._send_ask(id, request)
            frame = self._receive(id)
        finally:
            if frame is None and not self._socket.closed:
                self._send(Abandon(id=id))
        if isinstance(frame, Failed):
            raise _error_of(frame.fault)
        return decode_answer(request, frame.body)

    def _greet(self) -> Welcome:
        name = os.path.basename(sys.argv[0]) or "client"
        self._send(Hello(protocol=PROTOCOL_VERSION, version=__version__, name=name, pid=os.getpid()))
        if not self._has_input(GREETING_TIMEOUT):
            raise DaemonUnreachable(f"{self._where}: {self._peer} does not answer; {self._advice}")
        frame = self._read()
        if not isinstance(frame, Welcome):
            raise ProtocolError(f"{self._where}: the daemon answered {type(frame).__name__} to Hello")
        self._is_greeted = True
        return frame

    def _receive(self, id: int) -> Reply | Failed:
        is_asked_for_status = False
        while True:
            if self._has_input(SILENCE):
                is_asked_for_status = False
                frame = self._read()
                if isinstance(frame, (Reply, Failed)) and frame.id == id:
                    return frame
            elif is_asked_for_status:
                raise DaemonUnreachable(
                    f"{self._peer} has not answered for {2 * SILENCE:g} seconds: it is stopped or stuck; {self._advice}"
                )
            else:
                self._send_ask(next(self._ids), GetStatus())
                is_asked_for_status = True

    def _has_input(self, seconds: float) -> bool:
        """Whether a frame arrives within `seconds`. Raises DaemonUnreachable if the connection is lost."""
        ready = dict(self._poller.poll(int(seconds * 1000)))
        # The last frame of a connection arrives before the event of its end, but perhaps after the poll had looked.
        if self._socket in ready or self._socket.poll(0):
            return True
        if self._monitor in ready:
            has_left = not isinstance(self._place, Remote) and not self._is_greeted
            raise (DaemonEnds if has_left else DaemonUnreachable)(self._explain_loss())
        return False

    @property
    def _where(self) -> str:
        return self._place.address if isinstance(self._place, Remote) else str(self._place)

    def _explain_loss(self) -> str:
        """Why the connection was lost or refused."""
        if not isinstance(self._place, Remote) and not self._is_greeted:
            return f"{self._peer} closed the connection before it answered; see daemon.log in its home"
        if not isinstance(self._place, Remote):
            return f"{self._peer} has ended; see daemon.log in its home; `sandbox daemon start` starts a new one"
        event = parse_monitor_message(self._monitor.recv_multipart())["event"]
        if event == zmq.EVENT_CLOSED:
            return f"no daemon listens at {self._place.address}; start `sandbox-daemon --listen {self._place.address}`"
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            own = self._place.pair.public
            return (
                f"{self._peer} does not accept your key: authorize it there with `sandbox daemon keys add NAME {own}`"
            )
        if event == zmq.EVENT_DISCONNECTED and self._is_greeted:
            return f"{self._peer} has ended, or your key was revoked"
        return (
            f"{self._peer} ended the handshake: {SERVER_KEY_VARIABLE} must be the output of `sandbox daemon keys show` "
            "on its machine"
        )

    def _read(self) -> Any:
        try:
            frame = decode_frame(self._socket.recv())
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ProtocolError(f"{self._where}: the peer does not speak this protocol: {error}") from error
        if isinstance(frame, TurnedAway):
            raise self._rejection(frame)
        return frame

    def _rejection(self, frame: TurnedAway) -> SandboxError:
        if frame.protocol == PROTOCOL_VERSION:
            return _error_of(frame.fault)
        versions = (
            f"this client (version {__version__}) speaks protocol {PROTOCOL_VERSION}, the daemon (version "
            f"{frame.version}, {self._endpoint}) speaks {frame.protocol}"
        )
        if isinstance(self._place, Remote):
            return ProtocolError(f"{versions}; install the same version on both machines")
        return ProtocolError(
            f"{versions}; stop it with its own `sandbox daemon stop` or `kill {self.pid}`, and the next command starts "
            "one of this version"
        )

    def _send_ask(self, id: int, request: Any) -> None:
        try:
            body = encode(request)
        except UnicodeEncodeError as error:
            text = bounded(error.object[max(0, error.start - 80) : error.start + 80])
            raise Refused(f"the request cannot be sent, because a text in it is not UTF-8: {text}") from error
        self._send(Ask(id=id, body=msgspec.Raw(body)))

    def _send(self, frame: Any) -> None:
        data = encode(frame)
        if len(data) > MAX_FRAME:
            raise Refused(f"the request has {len(data)} bytes; the daemon accepts at most {MAX_FRAME}")
        self._socket.send(data)


def _require_room() -> None:
    """Raise Refused where libzmq would abort the process, because it gets no more files or threads."""
    opened = []
    try:
        for _ in range(FILES):
            opened.append(os.dup(0))  # those that were opened before it fails have to be closed
        mmap.mmap(-1, STACKS).close()
    except OSError as error:
        raise Refused(
            f"a connection needs {FILES} open files and {STACKS >> 20} MiB of address space: {error.strerror}; raise "
            "the limit (`ulimit -n`, `ulimit -v`)"
        ) from error
    finally:
        for descriptor in opened:
            os.close(descriptor)


def listener(path: Path) -> int | None:
    """The pid of the process that listens on a Unix socket, or None. Raises AnothersDaemon."""
    door = find_door(path, GREETING_TIMEOUT)
    if door is None:
        return None
    door.close()
    return door.pid


def _error_of(fault: Fault) -> SandboxError:
    if fault.code != ConfigError.code:
        return error_of(fault)
    return ConfigError([_problem_of(line) for line in fault.message.splitlines()])


def _problem_of(line: str) -> Problem:
    file, path, message = [*line.split(": ", 2), "", ""][:3]
    return Problem(file, path, message) if message else Problem(file, "", path)
