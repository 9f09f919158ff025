"""ZMTP 3.1, as far as a ROUTER and a DEALER socket need it: bytes in, messages out, no I/O.

The protocol is ZeroMQ's own (rfc.zeromq.org/spec/23 and /37), with the NULL mechanism: both sides begin with a greeting
of 64 bytes and a READY command, then send frames of a flag byte, a length and a body. Any DEALER of libzmq speaks it.
Messages of several parts are refused: libzmq's ROUTER accepts them, but collects the parts without a limit until the
last one has arrived.
"""

from __future__ import annotations

from collections.abc import Iterator

from sandbox_actors.errors import ProtocolError

_MORE, _LONG, _COMMAND = 1, 2, 4

_SIGNATURE_LENGTH = 11
"""With the version number. Peers of older versions send no more than this until they have received a greeting."""

_GREETING_LENGTH = 64
_MECHANISM = b"NULL".ljust(20, b"\0")

READY_LIMIT = 1_024
"""Bytes of the command that ends the handshake; that of libzmq has 40."""

HEAD = READY_LIMIT + 9
"""The most bytes that must be read to know the length of a frame, or to parse one that is not a message."""


def _opening(kind: bytes) -> bytes:
    name = b"Socket-Type"
    body = b"\5READY" + bytes([len(name)]) + name + len(kind).to_bytes(4, "big") + kind
    ready = bytes([_COMMAND, len(body)]) + body
    return b"\xff" + b"\0" * 8 + b"\x7f" + b"\3\1" + _MECHANISM + b"\0" * 32 + ready


OPENING, DEALER_OPENING = _opening(b"ROUTER"), _opening(b"DEALER")
"""All that the listening side, and the other one, sends before its first message. Neither need wait for the other."""


def framed(body: bytes) -> bytes:
    """A message of one part, as it is sent."""
    if len(body) < 256:
        return bytes((0, len(body))) + body
    return b"\2" + len(body).to_bytes(8, "big") + body


class Decoder:
    """Splits the bytes of one connection into messages. `limit` is the longest body that is accepted; it may be
    changed.

    `feed` must not be called again after an error.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._stage = self._greeting
        self._rest = bytearray()
        self._needed = 0

    @property
    def pending_size(self) -> int:
        """Length of the message that is being received, as far as it is known; 0 between two messages."""
        return self._needed if self._rest else 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bodies of the messages that `data` completes. Raises ProtocolError if it is not valid here.

        It is a generator that consumes `data` as it is iterated: a caller that stops early must not call `feed` again.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            message, data = self._take_pending()
            if message is not None:
                yield message
        at, end = 0, len(data)
        while at < end:
            start, stop = self._stage(data, at, end)
            if stop > end:
                self._needed = stop - at
                break
            if start >= 0:
                yield data[start:stop]
            at = stop
        self._rest = bytearray(data[at:])

    def _take_pending(self) -> tuple[bytes | None, bytes]:
        """The needed bytes have arrived: returns the message that they complete, if any, and the bytes that follow. A
        large message is copied only once."""
        kept = memoryview(self._rest)
        self._rest = bytearray()
        start, stop = self._stage(bytes(kept[:HEAD]), 0, self._needed)
        if stop > self._needed:  # enough to know its length, not yet the whole of it
            return None, bytes(kept)
        return (bytes(kept[start:stop]) if start >= 0 else None), bytes(kept[stop:])

    # Each stage parses the unit that begins at `at`. It returns the start of the body to yield, -1 if there is none,
    # and the end of the unit. An end behind `end` means that more bytes are needed.

    def _greeting(self, chunk: bytes, at: int, end: int) -> tuple[int, int]:
        if chunk[at] != 0xFF:
            raise ProtocolError("the peer does not speak ZMTP 3")
        if end < at + _SIGNATURE_LENGTH:
            return -1, at + _SIGNATURE_LENGTH
        if not chunk[at + 9] & 1 or chunk[at + 10] < 3:
            raise ProtocolError("the peer does not speak ZMTP 3")
        stop = at + _GREETING_LENGTH
        if stop <= end:
            if chunk[at + 12 : at + 32] != _MECHANISM:
                raise ProtocolError("only ZMTP's NULL mechanism is supported")
            self._stage = self._handshake
        return -1, stop

    def _handshake(self, chunk: bytes, at: int, end: int) -> tuple[int, int]:
        flags, start, stop = _header(chunk, at, end, READY_LIMIT)
        if not flags & _COMMAND:
            raise ProtocolError("a message arrived before the end of the handshake")
        if stop <= end:
            if chunk[start : start + 6] != b"\5READY":
                raise ProtocolError("the handshake did not end with READY")
            self._stage = self._message
        return -1, stop

    def _message(self, chunk: bytes, at: int, end: int) -> tuple[int, int]:
        flags, start, stop = _header(chunk, at, end, self.limit)
        if flags & _MORE:
            raise ProtocolError("a message must have one part")
        # Commands are heartbeats, which our clients do not send: they are ignored.
        return (-1 if flags & _COMMAND else start), stop


def _header(chunk: bytes, at: int, end: int, limit: int) -> tuple[int, int, int]:
    """The flags of the frame that begins at `at`, and the start and end of its body."""
    flags = chunk[at]
    if flags > (_MORE | _LONG | _COMMAND):
        raise ProtocolError(f"a frame cannot begin with the byte {flags:#04x}")
    width = 8 if flags & _LONG else 1
    start = at + 1 + width
    if start > end:
        return flags, start, start
    size = int.from_bytes(chunk[at + 1 : start], "big")
    if size > limit:
        raise ProtocolError(f"a message may have {limit} bytes, this one has {size}")
    return flags, start, start + size
