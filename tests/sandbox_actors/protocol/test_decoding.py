"""Anything that is received is decoded, or refused with a coded error."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_actors.daemon.requests import decoded
from sandbox_actors.errors import ProtocolError, Refused
from sandbox_actors.protocol.client_requests import ListExperiments, Submit, decode_client_request
from sandbox_actors.protocol.frames import Ask, decode_frame, encode
from sandbox_actors.protocol.rows import Point
from sandbox_actors.protocol.worker_requests import Report, decode_worker_request
from sandbox_actors.transport.decode_limit import DECODED_LIMIT, check_decoded_size
from sandbox_actors.transport.gateway import decode_checked

TAGS = ["Ask", "Hello", "Reply", "Failed", "Abandon", "Welcome", "TurnedAway", "Submit", "Changes", "Report", "Pull"]

leaves = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary()
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
documents = st.fixed_dictionaries(
    {"type": st.sampled_from(TAGS) | leaves},
    optional=dict.fromkeys(("id", "body", "protocol", "pid", "fault", "definition", "wait", "run"), values),
).map(encode)
frames = st.binary(max_size=200) | documents | st.tuples(documents, st.binary(max_size=20)).map(b"".join)


@given(frames)
def test_a_frame_is_decoded_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        frame = decode_checked(data)
        assert decode_frame(encode(frame)) == frame or "nan" in repr(frame)


@given(frames)
def test_a_request_is_decoded_or_a_protocol_error(data: bytes) -> None:
    for decode in (decode_client_request, decode_worker_request):
        with contextlib.suppress(ProtocolError):
            decoded(decode, msgspec.Raw(data))


@given(st.sampled_from(TAGS), st.integers(0, 300), st.integers(0, 7))
def test_a_valid_message_with_a_flipped_bit_is_decoded_or_a_protocol_error(tag: str, at: int, bit: int) -> None:
    report = Report(run="r", source="s", position=1, points=[Point(name="loss", value=1.0, step=3)])
    data = bytearray(encode(Ask(id=1, body=msgspec.Raw(encode(report)))).replace(b"Ask", tag[:3].encode()))
    data[at % len(data)] ^= 1 << bit
    with contextlib.suppress(ProtocolError):
        frame = decode_checked(bytes(data))
        decoded(decode_worker_request, getattr(frame, "body", msgspec.Raw(b"")))


@pytest.mark.parametrize("head", [b"\x91", b"\x81\xa1x", b"\x81\xa4type", b"\x82\xa4type\xa3Ask\xa4body"])
def test_nesting_of_any_depth_is_a_protocol_error(head: bytes) -> None:
    deep = head * 100_000
    with pytest.raises(ProtocolError):
        decode_checked(deep)
    with pytest.raises(ProtocolError):
        decoded(decode_client_request, msgspec.Raw(encode(Submit(definition=msgspec.Raw(deep), source="", cwd=""))))


def peak_of_decoding(definition: bytes) -> int:
    body = encode(Submit(definition=msgspec.Raw(definition), source="", cwd=""))
    tracemalloc.start()
    try:
        with contextlib.suppress(Refused):
            check_decoded_size(body)
            kept: Any = decode_client_request(body)
            assert kept is not None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "item",
    [b"\x80", b"\x90", b"\xa1x", b"\xe0", b"\xcb" + b"\x7f" * 8, b"\x81\xa1x\xc0", b"\xc4\1x", b"\x07", b"\xc7\0\1"],
)
@pytest.mark.parametrize("size", [1 << 18, 1 << 20, 1 << 24])
def test_no_accepted_request_takes_more_memory_than_the_limit(item: bytes, size: int) -> None:
    count = size // len(item)
    assert peak_of_decoding(b"\xdd" + count.to_bytes(4, "big") + item * count) < DECODED_LIMIT + size


def test_usual_submissions_are_accepted() -> None:
    job = {
        "hook": "TrainModelHook",
        "meta_name": "train",
        "extra_configs": {"type": "a:B", "rate": 0.1, "list": [1] * 20},
    }
    check_decoded_size(
        encode(Submit(definition={"pipelines": [{str(n): [job]} for n in range(5_000)]}, source="", cwd=""))
    )
    check_decoded_size(encode(Submit(definition={"text": "ж" * 200_000}, source="", cwd="")))
    check_decoded_size(encode(ListExperiments()))


def test_a_request_that_would_take_too_much_memory_is_refused_with_the_figures() -> None:
    with pytest.raises(Refused, match=r"a request of 1000000 bytes in which 1000000 are not ASCII.*the limit is"):
        check_decoded_size(b"\x80" * 1_000_000)
