"""A blocking connection to the daemon, for programs that are not made of tasks: asks go out, answers come back.

Nobody waits for a daemon that is gone: a closed connection is seen at once, a daemon that is stopped or stuck after
`SILENCE` seconds without a sign of life, in which it is asked for one.
"""

from __future__ import annotations

import itertools
import os
import socket as sockets
import struct
import sys
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import zmq

from sandbox_actors import __version__
from sandbox_actors.errors import ConfigError, DaemonUnreachable, Problem, ProtocolError, Refused, SandboxError
from sandbox_actors.messages import (
    MAX_FRAME,
    PROTOCOL_VERSION,
    Abandon,
    Ask,
    Failed,
    Fault,
    GetStatus,
    Hello,
    Reply,
    TurnedAway,
    Welcome,
    decode_frame,
    encode,
    error_of,
)

GREETING_TIMEOUT = 10.0
"""Seconds in which a daemon has to answer `Hello`."""

SILENCE = 10.0
"""Seconds without a word after which the daemon is asked for a sign of life, and again as long to give it."""

FAREWELL = 500
"""Milliseconds that closing takes at most, to hand over what was sent."""

T = TypeVar("T")


class Connection:
    """Greeted when made; `close` it. For one thread at a time.

    Raises DaemonUnreachable where nobody answers, ProtocolError where a daemon of another protocol does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pid = listener(path)
        if self.pid is None:
            raise DaemonUnreachable(f"no daemon answers at {path}; `sandbox daemon start` starts one")
        self._ids = itertools.count(1)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self._socket.connect(f"ipc://{path}")
            self.daemon = self._greet()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._context.destroy(linger=FAREWELL)

    def ask(self, request: Any, answer: type[T]) -> T:
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
        return msgspec.msgpack.decode(frame.body, type=answer)

    def _greet(self) -> Welcome:
        name = os.path.basename(sys.argv[0]) or "client"
        self._send(Hello(protocol=PROTOCOL_VERSION, version=__version__, name=name, pid=os.getpid()))
        if not self._has_input(GREETING_TIMEOUT):
            raise DaemonUnreachable(
                f"{self.path}: the daemon (pid {self.pid}) does not answer; if it stays so, end it: `kill {self.pid}`"
            )
        frame = self._read()
        if not isinstance(frame, Welcome):
            raise ProtocolError(f"{self.path}: the daemon answered {type(frame).__name__} to Hello")
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
                    f"the daemon (pid {self.pid}) has not answered for {2 * SILENCE:g} seconds: it is stopped or "
                    f"stuck; if it stays so, end it: `kill {self.pid}`"
                )
            else:
                self._send_ask(next(self._ids), GetStatus())
                is_asked_for_life = True

    def _has_input(self, seconds: float) -> bool:
        """Whether a frame comes within `seconds`. Raises DaemonUnreachable when the connection is lost instead."""
        ready = dict(self._poller.poll(int(seconds * 1000)))
        if self._monitor in ready and self._socket not in ready:
            raise DaemonUnreachable(
                f"the daemon (pid {self.pid}) has gone; `sandbox daemon start` starts one, its log is daemon.log in "
                "its home"
            )
        return self._socket in ready

    def _read(self) -> Any:
        try:
            frame = decode_frame(self._socket.recv())
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ProtocolError(f"{self.path}: what answers there is no daemon of this protocol: {error}") from error
        if isinstance(frame, TurnedAway):
            raise self._rejection(frame)
        return frame

    def _rejection(self, frame: TurnedAway) -> SandboxError:
        if frame.protocol == PROTOCOL_VERSION:
            return _error_of(frame.fault)
        return ProtocolError(
            f"this client (version {__version__}) speaks protocol {PROTOCOL_VERSION}, the daemon (version "
            f"{frame.version}, pid {self.pid}) speaks {frame.protocol}; end it with its own `sandbox daemon stop` or "
            f"`kill {self.pid}`, and the next command starts one of this version"
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
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(GREETING_TIMEOUT)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return None  # no file, a file that a dead daemon has left, or a daemon whose queue is full
        credentials = probe.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    if uid not in (os.getuid(), 0):
        raise Refused(f"{path} belongs to another user (uid {uid}); set SANDBOX_SOCKET to a place of your own")
    return int(pid)


def _error_of(fault: Fault) -> SandboxError:
    if fault.code != ConfigError.code:
        return error_of(fault)
    return ConfigError([_problem_of(line) for line in fault.message.splitlines()])


def _problem_of(line: str) -> Problem:
    file, path, message = [*line.split(": ", 2), "", ""][:3]
    return Problem(file, path, message) if message else Problem(file, "", path)
