from __future__ import annotations

import resource
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_actors.protocol.rows import ProgressBar
from sandbox_actors.worker import log_lines as lines_module
from sandbox_actors.worker.log_lines import LINE_LIMIT, Line, LogLines
from sandbox_actors.worker.progress_bars import split_bar


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def append(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def texts(lines: Iterable[Line]) -> list[str]:
    return [text for text, _ in lines]


def test_half_a_line_is_not_yielded(log: Path) -> None:
    lines = LogLines(str(log))
    append(log, b"loss=0.12")
    assert texts(lines.read()) == []
    append(log, b"34\nlr=")
    assert texts(lines.read()) == ["loss=0.1234"]
    assert texts(lines.finish()) == ["lr="]
    assert texts(lines.finish()) == []


def test_a_log_that_does_not_exist_yet_has_no_lines(log: Path) -> None:
    lines = LogLines(str(log))
    assert texts(lines.read()) == []
    append(log, b"now\n")
    assert texts(lines.read()) == ["now"]


def test_a_carriage_return_ends_a_line_and_with_a_newline_only_one(log: Path) -> None:
    lines = LogLines(str(log))
    append(log, b"a\rb\r\nc\r")
    assert texts(lines.read()) == ["a", "b"]
    append(log, b"\nd\n\n")
    assert texts(lines.read()) == ["c", "d", ""]


def test_invalid_text_is_read_with_replacement_characters(log: Path) -> None:
    append(log, b"\xff\xfe\x00ok \x1b[31mred\xc3\n\xa4\n")
    assert texts(LogLines(str(log)).read()) == ["\ufffd\ufffd\0ok \x1b[31mred\ufffd", "\ufffd"]


def test_a_truncated_log_is_read_from_its_new_beginning(log: Path) -> None:
    lines = LogLines(str(log))
    append(log, b"old line\nrest")
    list(lines.read())
    log.write_bytes(b"new\n")
    assert texts(lines.read()) == ["new"]


def test_of_an_endless_line_the_beginning_is_yielded_and_memory_stays_bounded(log: Path) -> None:
    with log.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * LINE_LIMIT)
        file.write(b"\nnext\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (first, position), (second, end) = LogLines(str(log)).read()
    assert set(first) == {"x"}
    assert (len(first), position) == (LINE_LIMIT, LINE_LIMIT)
    assert (second, end) == ("next", log.stat().st_size)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 24 * 1024, "KiB"


PIECES = st.lists(st.sampled_from([b"a", b"bc", b"defgh", b"\r", b"\n", b"\r\n", b"\xc3\xa4"]), max_size=30)


@given(PIECES, st.data(), st.sampled_from([4, LINE_LIMIT]))
def test_lines_and_positions_do_not_depend_on_how_the_writes_are_split(
    pieces: list[bytes], data: st.DataObject, limit: int
) -> None:
    whole = b"".join(pieces)
    cut = data.draw(st.integers(0, len(whole)))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "LINE_LIMIT", limit)
        log = Path(folder) / "log"
        in_two = LogLines(str(log))
        append(log, whole[:cut])
        got = list(in_two.read())
        append(log, whole[cut:])
        got += [*in_two.read(), *in_two.finish()]
        at_once = LogLines(str(log))
        expected = [*at_once.read(), *at_once.finish()]
    assert got == expected
    positions = [position for _, position in got]
    assert positions == sorted(set(positions))
    if limit == LINE_LIMIT:
        text = whole.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        assert texts(got) == (text.removesuffix("\n").split("\n") if text else [])
        assert positions[-1:] == ([len(whole)] if whole else [])


def test_lines_before_the_beginning_are_left_out_but_count_for_positions(log: Path) -> None:
    append(log, b"of an earlier attempt\n")
    lines = LogLines(str(log), begin=log.stat().st_size)
    append(log, b"mine\n")
    assert list(lines.read()) == [("mine", log.stat().st_size)]


def test_positions_still_increase_when_a_log_is_truncated(log: Path) -> None:
    lines = LogLines(str(log))
    append(log, b"12345\n")
    first = list(lines.read())
    log.write_bytes(b"7\n")
    assert first + list(lines.read()) == [("12345", 6), ("7", 8)]


@pytest.mark.parametrize(
    ("line", "bar"),
    [
        (" 12%|█▏        | 12/100 [00:01<00:09,  9.52it/s]", ProgressBar(label="", done=12, total=100, unit="it")),
        (
            "training:  50%|#####     | 64/128 [00:02<00:02, 31.5step/s]",
            ProgressBar(label="training", done=64, total=128, unit="step"),
        ),
        (
            "Map (num_proc=2): 100%|███| 1.50k/1.50k [00:00<00:00, 3.2k examples/s]",
            ProgressBar(label="Map (num_proc=2)", done=1500, total=1500),
        ),
        ("  0%|          | 0/5 [00:00<?, ?it/s]", ProgressBar(label="", done=0, total=5, unit="it")),
        (
            "Steps: 10%|█ | 1/10 [00:03<00:30, 3.3s/it, lr=1e-05, step_loss=0.12]",
            ProgressBar(label="Steps", done=1, total=10),
        ),
    ],
)
def test_a_bar_of_tqdm_is_recognised(line: str, bar: ProgressBar) -> None:
    found, parts = split_bar(line)
    assert found is not None
    assert (found.label, found.done, found.total) == (bar.label, bar.done, bar.total)
    assert parts == [line]


def test_text_after_a_bar_is_a_line_of_its_own() -> None:
    bar = " 50%|#####     | 5/10 [00:01<00:01, 5.0it/s]"
    assert split_bar(bar + "{'loss': 0.5}")[1] == [bar, "{'loss': 0.5}"]


@pytest.mark.parametrize("line", ["loss 5%", "a | b | c", "100%| nothing", "50%|##| x/y [z]", ""])
def test_a_line_without_a_bar_is_unchanged(line: str) -> None:
    assert split_bar(line) == (None, [line])
