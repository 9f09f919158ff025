"""The ZMTP decoder: with bytes that libzmq sends, split anywhere, and with random bytes."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_actors.errors import ProtocolError
from sandbox_actors.transport.zmtp import OPENING, Decoder, framed

LIMIT = 100_000

DEALER_OPENING = OPENING.replace(b"\6ROUTER", b"\6DEALER")


def decoded(*pieces: bytes, limit: int = LIMIT) -> list[bytes]:
    decoder = Decoder(limit)
    return [message for piece in pieces for message in decoder.feed(piece)]


messages = st.lists(st.one_of(st.binary(max_size=40), st.binary(min_size=250, max_size=300)), max_size=8)


@given(messages, st.lists(st.integers(0, 3_000), max_size=12))
def test_messages_are_decoded_as_they_were_sent_wherever_the_stream_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    stream = DEALER_OPENING + b"".join(framed(message) for message in sent)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:stop] for start, stop in pairwise(edges)]
    assert decoded(*pieces) == sent


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 50))
def test_any_bytes_are_a_message_or_a_protocol_error(noise: bytes, is_greeted: bool, size: int) -> None:
    decoder = Decoder(LIMIT)
    stream = DEALER_OPENING + noise if is_greeted else noise
    with contextlib.suppress(ProtocolError):
        for at in range(0, len(stream), size):
            for message in decoder.feed(stream[at : at + size]):
                assert message in noise


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "does not speak ZMTP 3"),
        (b"\xff" + b"\0" * 8 + b"\x7f\1", "does not speak ZMTP 3"),
        (OPENING[:12] + b"CURVE".ljust(20, b"\0") + OPENING[32:], "NULL mechanism"),
        (DEALER_OPENING[:64] + framed(b"early"), "before the end of the handshake"),
        (DEALER_OPENING[:64] + b"\4\7\6NOTYET", "did not end with READY"),
        (DEALER_OPENING[:64] + b"\6" + (1 << 40).to_bytes(8, "big"), "may have 1024 bytes"),
        (DEALER_OPENING + b"\1\1x", "one part"),
        (DEALER_OPENING + b"\x08\1x", "cannot begin with the byte 0x08"),
        (DEALER_OPENING + b"\2" + (LIMIT + 1).to_bytes(8, "big"), "may have 100000 bytes, this one has 100001"),
        (DEALER_OPENING + b"\2" + b"\xff" * 8, "may have 100000 bytes"),
    ],
)
def test_an_invalid_message_is_refused_with_the_reason(stream: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        decoded(stream)
    with pytest.raises(ProtocolError, match=reason):
        decoded(*[bytes([byte]) for byte in stream])


def test_a_forged_length_is_refused_before_any_of_its_bytes_arrive() -> None:
    decoder = Decoder(LIMIT)
    list(decoder.feed(DEALER_OPENING))
    with pytest.raises(ProtocolError):
        list(decoder.feed(b"\2" + (LIMIT + 1).to_bytes(8, "big")))


def test_the_length_of_an_incomplete_message_is_known() -> None:
    decoder = Decoder(LIMIT)
    assert list(decoder.feed(DEALER_OPENING + framed(b"x" * 5_000)[:100])) == []
    assert decoder.pending_size == 5_009
    assert list(decoder.feed(framed(b"x" * 5_000)[100:])) == [b"x" * 5_000]
    assert decoder.pending_size == 0


def test_heartbeats_are_ignored() -> None:
    assert decoded(DEALER_OPENING, b"\4\7\4PING\0\0", framed(b"message")) == [b"message"]
