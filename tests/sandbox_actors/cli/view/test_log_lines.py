"""Logs as lines that are safe to print, for any bytes in any chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_actors.cli.view.log_lines import LONGEST_LINE, lines


def bar(done: int) -> bytes:
    return f"train: {done}%|{'#' * (done // 10)}| {done}/100 [00:01<00:02, 3.00it/s]".encode()


def test_a_line_written_in_two_halves_is_one_line() -> None:
    assert list(lines([b"loss=0.12", b"34\nnext"])) == ["loss=0.1234", "next"]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_end_in_any_of_three_ways_even_when_a_chunk_ends_in_between(end: bytes) -> None:
    data = b"one" + end + b"two" + end
    for cut in range(len(data) + 1):
        assert list(lines([data[:cut], data[cut:]])) == ["one", "two"]


def test_only_the_last_state_of_a_progress_bar_is_given() -> None:
    data = b"start\n\r" + b"\r".join(map(bar, (0, 50, 100))) + b"\ndone\n"
    assert list(lines([data])) == ["start", "", bar(100).decode(), "done"]


def test_lines_between_bars_are_kept() -> None:
    data = b"\r".join([bar(10), b"{'loss': 1}", bar(20), b"{'loss': 2}", bar(30)])
    assert list(lines([data])) == [
        *(bar(10).decode(), "{'loss': 1}", bar(20).decode(), "{'loss': 2}"),
        bar(30).decode(),
    ]


def test_control_characters_are_removed_and_invalid_text_is_replaced() -> None:
    assert list(lines([b"\x1b[2Jred \xff\xfe \x00end\n", "gr\u00fcn".encode()[:3], b"\xbcn\n"])) == [
        "red \ufffd\ufffd end",
        "gr\u00fcn",
    ]


def test_a_very_long_line_is_split() -> None:
    pieces = list(lines(b"x" * 1000 for _ in range(200)))
    assert max(map(len, pieces)) == LONGEST_LINE
    assert sum(map(len, pieces)) == 200_000


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_the_chunks_do_not_matter(chunks: list[bytes]) -> None:
    assert list(lines(chunks)) == list(lines([b"".join(chunks)]))
