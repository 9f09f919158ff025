"""TCP, only on request: a ROUTER of libzmq with CURVE, which admits the keys of an allow-list and no others.

Theory of operation. libzmq's I/O threads own the connections. In trio there are four tasks of one nursery: two wait,
one for the ROUTER and one for its monitor (which connections were opened and closed), and both take what there is in
both; one answers ZAP (rfc.zeromq.org/spec/27: libzmq asks it whether a key is admitted); one watches the allow-list.
All sockets are used from trio's thread only.

- A connection is reported before its handshake, so the monitor is read before a frame of an unknown connection is
  looked at; if it is unknown still, it has ended, and the frame is dropped. When a disconnection is reported, frames
  that came before it may be waiting: the ROUTER is drained first.
- The events of the monitor are applied in their order: the descriptor of a connection that has ended may be that of the
  next one in the same batch.
- A socket's descriptor is edge-triggered: it says only that *something* may have changed, and any call on the socket
  may consume that edge. So who reads a socket drains it until EAGAIN, and who waits for it looks at EVENTS before;
  after a send the sender looks at EVENTS and wakes the reader if the send has consumed its wake-up.
- Admission is checked for each frame, not only at the handshake: a key that was removed is cut within
  `REVOCATION_CHECK` seconds, and no frame of it is delivered meanwhile.
- libzmq closes a descriptor when it likes, and the number is used again: `AcceptedSocket` compares inodes before it
  cuts.

Guaranteed: no frame of a key that is not on the list is delivered; before its handshake a peer can send a few bounded
frames for `GREETING_TIMEOUT` seconds. libzmq does not bound messages of many parts, so this runs in a process that owns
nothing else, and whose memory is bounded (`curve_relay.py`).

What failed: CURVE without ZAP accepts any client key. Without MAXMSGSIZE a peer without a key costs 2 GiB in 4 s. With
ROUTER_HANDOVER another peer can take over an identity. Receiving once per wake-up got 1 of 2,000 messages and hung.
"""

from __future__ import annotations

import os
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from sandbox_actors.errors import ProtocolError, Refused
from sandbox_actors.protocol.frames import MAX_FRAME
from sandbox_actors.transport.connection import GREETING_TIMEOUT, OnClosed, OnFrame, PeerGone, turned_away
from sandbox_actors.transport.keys import KeyPair, Keys
from sandbox_actors.transport.rate_limited_log import RateLimitedLog

CONNECTIONS = 100
REFUSED_AT_ONCE = 16
REFUSAL_TIMEOUT = 2.0
"""Over TCP. So many more are kept for so many seconds each: whoever has a key on the list is told the reason, which
takes a handshake. All further ones are closed."""

HIGH_WATER_MARK = 8
"""Frames queued for one peer, and received from one peer but not read yet."""

HEARTBEAT = 10_000
"""Milliseconds between two pings of a peer; without an answer for three of them, the connection is closed."""

REVOCATION_CHECK = 0.25
"""Seconds between two checks for a change of the allow-list."""

TAKE_OVER = 2.0
"""Seconds in which an address that is in use may become free."""

DOMAIN = b"sandbox"
"""With a domain, libzmq refuses every peer as long as no ZAP handler answers; without one, it would admit them."""

FULL = f"{CONNECTIONS} connections over TCP are open, which is the limit"

_DONTWAIT, _POLLIN = int(zmq.DONTWAIT), int(zmq.POLLIN)


def new_pair() -> KeyPair:
    public, secret = (z85.decode(half).hex() for half in zmq.curve_keypair())
    return KeyPair(public, secret)


class PeerBusy(PeerGone):
    """Its queue is full, because it has not read what it was sent; it may yet."""


class PolledSocket:
    """A socket for whose input one task waits."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self._descriptor = int(socket.getsockopt(zmq.FD))

    def has_input(self) -> bool:
        return bool(int(self.socket.getsockopt(zmq.EVENTS)) & _POLLIN)

    async def wait_readable(self) -> None:
        if self.has_input():
            await trio.lowlevel.checkpoint()
            return
        with suppress(trio.ClosedResourceError):  # a send consumed the wake-up, and `wake` replaces it
            await trio.lowlevel.wait_readable(self._descriptor)

    def wake(self) -> None:
        """Wake the reader if input has arrived. To be called after each send."""
        if self.has_input():
            trio.lowlevel.notify_closing(self._descriptor)  # nothing is closed: this is trio's way to wake a reader


class CurveConnection:
    """One peer. `key` is its public key, `name` what the allow-list calls it."""

    def __init__(self, router: CurveRouter, identity: bytes, socket: AcceptedSocket, key: str, name: str) -> None:
        self._router, self._identity, self._socket = router, identity, socket
        self.key, self.name = key, name

    @property
    def origin(self) -> str:
        return f"key {self.name}"

    def admit(self) -> None:
        """Nothing to do: it was admitted by its key."""

    def send(self, frame: bytes) -> None:
        self._router.send(self._identity, frame)

    def cut(self) -> None:
        self._socket.cut()


class AcceptedSocket:
    """A TCP socket that libzmq owns, by its descriptor. libzmq may close it at any time, and the number is used
    again: the inode tells whether it is still the same socket."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.is_refused = False
        self._inode = os.fstat(descriptor).st_ino

    def cut(self) -> None:
        """Shut the connection down. libzmq treats that as the peer disconnecting."""
        with suppress(OSError):  # libzmq has closed it
            held = os.dup(self.descriptor)  # from here on the number cannot be used again
            with sockets.socket(fileno=held) as socket:
                if os.fstat(held).st_ino == self._inode:
                    socket.shutdown(sockets.SHUT_RDWR)


class CurveRouter:
    """Made by `open_curve_router`."""

    def __init__(self, socket: Any, zap: Any, monitor: Any, keys: Keys) -> None:
        self._socket, self._zap, self._monitor = PolledSocket(socket), PolledSocket(zap), PolledSocket(monitor)
        self._keys = keys
        self._sockets: dict[int, AcceptedSocket] = {}
        self._gone: list[AcceptedSocket] = []
        self._connections: dict[bytes, CurveConnection] = {}
        self._limited_log = RateLimitedLog()

    async def run(self, on_frame: OnFrame, on_closed: OnClosed) -> None:
        async with trio.open_nursery() as self._nursery:
            nursery = self._nursery
            nursery.start_soon(self._answer_zap)
            nursery.start_soon(self._follow, self._monitor, on_frame, on_closed)
            nursery.start_soon(self._watch_keys)
            await self._follow(self._socket, on_frame, on_closed)

    async def _follow(self, socket: PolledSocket, on_frame: OnFrame, on_closed: OnClosed) -> None:
        """Take what there is in both the monitor and the ROUTER, each time that `socket` is readable."""
        while True:
            self._read_events()
            self._drain(on_frame)  # with the frames that were sent before a disconnection
            gone, self._gone = self._gone, []
            for each in gone:
                self._disconnected(each, on_closed)
            await socket.wait_readable()

    def send(self, identity: bytes, frame: bytes) -> None:
        try:
            self._socket.socket.send_multipart([identity, frame], _DONTWAIT)
        except zmq.Again as error:
            raise PeerBusy(f"{HIGH_WATER_MARK} frames wait for the peer to read them") from error
        except zmq.ZMQError as error:
            raise PeerGone(f"the peer is not connected any more ({error})") from error
        finally:
            self._socket.wake()

    # --- frames ---

    def _drain(self, on_frame: OnFrame) -> None:
        while self._socket.has_input():
            identity, *parts = self._socket.socket.recv_multipart(_DONTWAIT, copy=False)
            self._receive(bytes(identity.buffer), parts, on_frame)

    def _receive(self, identity: bytes, parts: list[Any], on_frame: OnFrame) -> None:
        connection = self._connections.get(identity)
        if connection is None:
            self._read_events()  # it may have been accepted since
            socket = self._sockets.get(int(parts[0].get(zmq.SRCFD)))
            if socket is None:
                return  # from a connection that has ended
            key = str(parts[0].get("User-Id"))
            connection = self._connections[identity] = CurveConnection(
                self, identity, socket, key, self._allowed().get(key, "?")
            )
        if connection.key not in self._allowed() or len(parts) != 1:
            connection.cut()
            return
        if connection._socket.is_refused:
            with suppress(PeerGone):
                connection.send(turned_away(Refused(FULL)))
            return
        with suppress(PeerGone):
            on_frame(connection, bytes(parts[0].buffer))

    # --- connections ---

    def _read_events(self) -> None:
        while self._monitor.has_input():
            event = parse_monitor_message(self._monitor.socket.recv_multipart(_DONTWAIT))
            if event["event"] == zmq.EVENT_ACCEPTED:
                self._accept(event["value"])
            elif socket := self._sockets.pop(event["value"], None):
                self._gone.append(socket)

    def _accept(self, descriptor: int) -> None:
        try:
            socket = self._sockets[descriptor] = AcceptedSocket(descriptor)
        except OSError:
            return  # it has ended already
        if len(self._sockets) > CONNECTIONS:
            self._limited_log.warn("full", f"a connection over TCP was refused: {FULL}")
            socket.is_refused = True
            is_kept = len(self._sockets) <= CONNECTIONS + REFUSED_AT_ONCE
            self._nursery.start_soon(self._cut_after, REFUSAL_TIMEOUT if is_kept else 0.0, socket)

    async def _cut_after(self, seconds: float, socket: AcceptedSocket) -> None:
        await trio.sleep(seconds)
        socket.cut()

    def _disconnected(self, socket: AcceptedSocket, on_closed: OnClosed) -> None:
        for identity, connection in list(self._connections.items()):
            if connection._socket is socket:
                del self._connections[identity]
                on_closed(connection)

    # --- keys ---

    def _allowed(self) -> dict[str, str]:
        """Names by key. Empty if the list cannot be read: no key is admitted then."""
        try:
            return self._keys.allowed()
        except (OSError, ValueError) as error:
            self._limited_log.warn(
                "list", f"no key is admitted over TCP, because the list of keys cannot be read: {error}"
            )
            return {}

    async def _answer_zap(self) -> None:
        while True:
            while self._zap.has_input():
                version, id, _, address, _, mechanism, *credentials = self._zap.socket.recv_multipart(_DONTWAIT)
                key = credentials[0].hex() if credentials else ""
                is_allowed = mechanism == b"CURVE" and key in self._allowed()
                if not is_allowed:
                    who = f"{address.decode('ascii', 'replace')} with the key {key}"
                    self._limited_log.warn(
                        "key", f"{who} was refused; `sandbox daemon keys add NAME KEY` would admit it"
                    )
                status = [b"200", b"OK", key.encode()] if is_allowed else [b"400", b"not admitted", b""]
                self._zap.socket.send_multipart([version, id, *status, b""])
            await self._zap.wait_readable()

    async def _watch_keys(self) -> None:
        """Close the connections of keys that were removed from the list."""
        while True:
            await trio.sleep(REVOCATION_CHECK)
            if self._connections:
                allowed = self._allowed()
                for connection in self._connections.values():
                    if connection.key not in allowed:
                        connection.cut()


@asynccontextmanager
async def open_curve_router(address: str, keys: Keys) -> AsyncIterator[CurveRouter]:
    """Listen at `tcp://HOST:PORT`; closed when the block ends.

    Raises Refused if the daemon has no keys, ProtocolError if the address cannot be bound.
    """
    pair = keys.server()
    if not address.startswith("tcp://"):
        raise Refused(f"{address} is not an address to listen at: give tcp://HOST:PORT")
    if pair is None:
        raise Refused(f"{address}: TCP needs keys, and the daemon has none; `sandbox daemon keys init` creates them")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        zap, socket = context.socket(zmq.REP), context.socket(zmq.ROUTER)
        zap.bind("inproc://zeromq.zap.01")
        for option, setting in _options(pair).items():
            socket.setsockopt(option, setting)
        monitor = socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        await _bind(socket, address)
        yield CurveRouter(socket, zap, monitor, keys)
    finally:
        context.destroy(linger=0)


async def _bind(socket: zmq.Socket[bytes], address: str) -> None:
    """Wait a moment for the address: the process that had it for a daemon that was killed ends after its daemon."""
    deadline = trio.current_time() + TAKE_OVER
    while True:
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or trio.current_time() >= deadline:
                raise ProtocolError(f"cannot listen at {address}: {error}") from error
            await trio.sleep(TAKE_OVER / 40)
        else:
            return


def _options(pair: KeyPair) -> dict[int, int | bytes]:
    return {
        zmq.LINGER: 0,
        zmq.ROUTER_MANDATORY: 1,
        zmq.ROUTER_HANDOVER: 0,
        zmq.MAXMSGSIZE: MAX_FRAME,
        zmq.SNDHWM: HIGH_WATER_MARK,
        zmq.RCVHWM: HIGH_WATER_MARK,
        zmq.HANDSHAKE_IVL: int(GREETING_TIMEOUT * 1000),
        zmq.HEARTBEAT_IVL: HEARTBEAT,
        zmq.HEARTBEAT_TIMEOUT: 3 * HEARTBEAT,
        zmq.IPV6: 1,
        zmq.ZAP_DOMAIN: DOMAIN,
        zmq.CURVE_SERVER: 1,
        zmq.CURVE_SECRETKEY: bytes.fromhex(pair.secret),
    }
