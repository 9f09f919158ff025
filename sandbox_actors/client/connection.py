"""A blocking connection to the daemon, for programs that are not made of tasks: asks go out, answers come back.

Nobody waits for a daemon that is gone: a closed connection is seen at once, a daemon that is stopped or stuck after
`SILENCE` seconds without a sign of life, in which it is asked for one.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from sandbox_actors.client.remote import SERVER_KEY_VARIABLE, Remote
from sandbox_actors.errors import ConfigError, DaemonUnreachable, Problem, ProtocolError, Refused, SandboxError
from sandbox_actors.protocol import unix_socket
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
from sandbox_actors.version import __version__

GREETING_TIMEOUT = 10.0
"""Seconds in which a daemon has to answer `Hello`."""

SILENCE = 10.0
"""Seconds without a word after which the daemon is asked for a sign of life, and again as long to give it."""

LEAVING = int(zmq.EVENT_DISCONNECTED)
REFUSING = LEAVING | zmq.EVENT_CLOSED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
"""What libzmq tells of a connection that is over, and of one over TCP that never was."""

FAREWELL = 500
"""Milliseconds that closing takes at most, to hand over what was sent."""


class Connection:
    """Greeted when made; `close` it. For one thread at a time.

    Raises DaemonUnreachable where nobody answers, ProtocolError where a daemon of another protocol does.
    """

    def __init__(self, place: Path | Remote) -> None:
        self._place = place
        self._ids = itertools.count(1)
        self._is_greeted = False
        if isinstance(place, Path):
            self.pid = listener(place)
            if self.pid is None:
                raise DaemonUnreachable(f"no daemon answers at {place}; `sandbox daemon start` starts one")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        self._monitor = self._socket.get_monitor_socket(LEAVING if isinstance(place, Path) else REFUSING)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self._connect(place)
            self.daemon = self._greet()
        except BaseException:
            self.close()
            raise

    def _connect(self, place: Path | Remote) -> None:
        if isinstance(place, Path):
            self._which = f"pid {self.pid}"
            self._who, self._way_out = f"the daemon (pid {self.pid})", f"if it stays so, end it: `kill {self.pid}`"
            self._socket.connect(f"ipc://{place}")
            return
        self._which = place.address
        self._who, self._way_out = f"the daemon at {place.address}", "look at its log on its machine"
        self._socket.setsockopt(zmq.CURVE_SERVERKEY, bytes.fromhex(place.server_key))
        self._socket.setsockopt(zmq.CURVE_PUBLICKEY, bytes.fromhex(place.pair.public))
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, bytes.fromhex(place.pair.secret))
        try:
            self._socket.connect(place.address)
        except zmq.ZMQError as error:
            raise DaemonUnreachable(f"{place.address}: {error}") from error

    def close(self) -> None:
        self._context.destroy(linger=FAREWELL)

    def ask(self, request: Request[Answer]) -> Answer:
        """Send `request`, wait for its answer however long it takes, and decode it.

        Raises what the daemon raised, or DaemonUnreachable. Interrupted, it tells the daemon that nobody waits.
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
            raise DaemonUnreachable(f"{self._where}: {self._who} does not answer; {self._way_out}")
        frame = self._read()
        if not isinstance(frame, Welcome):
            raise ProtocolError(f"{self._where}: the daemon answered {type(frame).__name__} to Hello")
        self._is_greeted = True
        return frame

    def _receive(self, id: int) -> Reply | Failed:
        is_asked_for_life = False
        while True:
            if self._has_input(SILENCE):
                is_asked_for_life = False
                frame = self._read()
                if isinstance(frame, (Reply, Failed)) and frame.id == id:
                    return frame
            elif is_asked_for_life:
                raise DaemonUnreachable(
                    f"{self._who} has not answered for {2 * SILENCE:g} seconds: it is stopped or stuck; {self._way_out}"
                )
            else:
                self._send_ask(next(self._ids), GetStatus())
                is_asked_for_life = True

    def _has_input(self, seconds: float) -> bool:
        """Whether a frame comes within `seconds`. Raises DaemonUnreachable when the connection is lost instead."""
        ready = dict(self._poller.poll(int(seconds * 1000)))
        if self._monitor in ready and self._socket not in ready:
            raise DaemonUnreachable(self._why_it_left())
        return self._socket in ready

    @property
    def _where(self) -> str:
        return self._place.address if isinstance(self._place, Remote) else str(self._place)

    def _why_it_left(self) -> str:
        if not isinstance(self._place, Remote):
            return f"{self._who} has gone; `sandbox daemon start` starts one, its log is daemon.log in its home"
        event = parse_monitor_message(self._monitor.recv_multipart())["event"]
        if event == zmq.EVENT_CLOSED:
            return f"nobody listens at {self._place.address}: `sandbox-daemon --listen {self._place.address}` would"
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            own = self._place.pair.public
            return f"{self._who} does not let your key in: there, `sandbox daemon keys add NAME {own}` would"
        if event == zmq.EVENT_DISCONNECTED and self._is_greeted:
            return f"{self._who} has gone, or lets your key in no more"
        told = "what `sandbox daemon keys show` prints there"
        return f"{self._who} ended the handshake: {SERVER_KEY_VARIABLE} has to be {told}"

    def _read(self) -> Any:
        try:
            frame = decode_frame(self._socket.recv())
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ProtocolError(f"{self._where}: what answers there is no daemon of this protocol: {error}") from error
        if isinstance(frame, TurnedAway):
            raise self._rejection(frame)
        return frame

    def _rejection(self, frame: TurnedAway) -> SandboxError:
        if frame.protocol == PROTOCOL_VERSION:
            return _error_of(frame.fault)
        told = (
            f"this client (version {__version__}) speaks protocol {PROTOCOL_VERSION}, the daemon (version "
            f"{frame.version}, {self._which}) speaks {frame.protocol}"
        )
        if isinstance(self._place, Remote):
            return ProtocolError(f"{told}; install the same version on both machines")
        return ProtocolError(
            f"{told}; end it with its own `sandbox daemon stop` or `kill {self.pid}`, and the next command starts one "
            "of this version"
        )

    def _send_ask(self, id: int, request: Any) -> None:
        self._send(Ask(id=id, body=msgspec.Raw(encode(request))))

    def _send(self, frame: Any) -> None:
        data = encode(frame)
        if len(data) > MAX_FRAME:
            raise Refused(f"the request has {len(data)} bytes; a daemon takes {MAX_FRAME}")
        self._socket.send(data)


def listener(path: Path) -> int | None:
    """The process that listens at a Unix socket, None if nobody does. Raises Refused if it is not this user's."""
    found = unix_socket.listener(path, GREETING_TIMEOUT)
    if found is None:
        return None
    if found.uid not in (os.getuid(), 0):
        raise Refused(f"{path} belongs to another user (uid {found.uid}); set SANDBOX_SOCKET to a place of your own")
    return found.pid


def _error_of(fault: Fault) -> SandboxError:
    if fault.code != ConfigError.code:
        return error_of(fault)
    return ConfigError([_problem_of(line) for line in fault.message.splitlines()])


def _problem_of(line: str) -> Problem:
    file, path, message = [*line.split(": ", 2), "", ""][:3]
    return Problem(file, path, message) if message else Problem(file, "", path)
