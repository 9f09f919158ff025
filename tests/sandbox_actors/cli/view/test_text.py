"""Numbers formatted for people, and text of unknown origin."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sandbox_actors.cli.view.text import clean, clock, duration, one_line, size, value

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07red",
    "\x1b]8;;http://x\x1b\\red\x1b]8;;\x1b\\",
    "\x9b2Jred",
    "r\x00e\x08d\x7f",
    "\x1bPdevice\x1b\\red",
    "\x1b(Bred\x1bc",
    "\u202ered\u2066",
    "red\ud800",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_control_sequences_are_removed(text: str) -> None:
    assert clean(text) == "red"


def test_control_characters_are_removed_alone_and_before_text() -> None:
    controls = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"]
    for text in (*controls, *(f"{each}[1mtext" for each in controls)):
        assert not set(clean(text)) & set(controls)


def test_an_escape_sequence_without_an_end_removes_only_itself() -> None:
    assert clean("one\ntwo\x1b[") == "one\ntwo"
    assert "\x1b" not in clean("\x1b\x1b[\x1b]")


def test_line_ends_of_all_kinds_become_newlines_and_tabs_are_kept() -> None:
    assert clean("a\r\nb\rc\u2028d\te") == "a\nb\nc\nd\te"
    assert one_line(" a\r\n  b\tc ") == "a b c"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.04, "0.0 s"), (42.04, "42.0 s"), (99.96, "1m 40s"), (3599.4, "59m 59s"), (7325, "2h 02m")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0:00"), (42.9, "0:42"), (725, "12:05"), (3725, "1:02:05")])
def test_clocks(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (44_000_000, "44 MB"), (1.24e9, "1.2 GB")])
def test_sizes(number: float, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (True, "yes"),
        (None, "–"),
        (1234567, "1,234,567"),
        (2.0, "2"),
        (0.0, "0"),
        (4.123456, "4.123"),
        (1.25e-7, "1.25e-07"),
        (12345.678, "12,345.7"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("a\x1b[1m\nb", "a b"),
    ],
)
def test_values_of_metrics(of: Any, text: str) -> None:
    assert value(of) == text
