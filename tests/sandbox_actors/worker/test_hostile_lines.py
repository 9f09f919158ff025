"""A line of a log, however it is made, costs this project's own parsers time that grows with its length, and no faster.

Each line is parsed within the limit that a log watcher sets; an expression that backtracks exceeds it at these sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.base import Config
from components.inference.rate_control import seconds
from components.models.modelscope_trainer import ModelscopeTrainExecutor
from components.models.reporting import parse
from sandbox_actors.cli.view.log_lines import lines
from sandbox_actors.experiment.targets import parse_target
from sandbox_actors.experiment_file.quantities import parse_bytes, parse_duration
from sandbox_actors.worker import log_follower
from sandbox_actors.worker.line_limit import LineLimit, LineTookTooLong
from sandbox_actors.worker.log_follower import LogFollower
from sandbox_actors.worker.log_lines import LINE_LIMIT, LogLines
from sandbox_actors.worker.progress_bars import LONGEST_BAR, split_bar

SIZE = 64 * 1024

# fmt: off
UNITS = (
    "1", "a", " ", "\t", "|", "%|", "1%|", "1%||1/1", "[", "]", ":", "1: ", "a: 1", "a: 1 ", ",1a", ", 1s/a", ".", "1.",
    "1/", "{", "{'", "}", "'a", "'a': ", "{'a': 1", '{"a": ', "[[", "loss: ", "loss:", "epoch [", "epoch [1]\t",
    "\x1b[", "\x1b]", "\x1b[0", "\r", "==", "1s", "\\", "٣", "é", "," + "1" + "a" * 20, ", " + "1" * 20,
)
# fmt: on
"""What hostile lines are made of."""

HEADS = (
    "",
    "a" * 900 + ": 1%||1/1[",
    "9" * 500 + "%||1/1[",
    "1%|#| 1/2 [",
    "epoch [1][1/2]\t",
    "train: ",
    "{'a': ",
    "\x1b[",
)

parts = st.lists(st.sampled_from(UNITS), min_size=1, max_size=3).map("".join)


class Ignores:
    def watch(self, res: Any, meta_name: str = "", step: int | None = None) -> None:
        """As the watcher of a component."""


def watch_modelscope(line: str) -> None:
    ModelscopeTrainExecutor(Config(), Ignores())._watch_run(line)


def print_log(line: str) -> None:
    list(lines([line.encode()]))


def read_target(line: str) -> None:
    for reads in (parse_target, parse_duration, parse_bytes):
        try:
            reads(line)
        except ValueError:
            continue


PARSERS = (split_bar, parse, watch_modelscope, print_log, seconds, read_target)


def within_limit(parser: Callable[[str], Any], line: str) -> None:
    limit = LineLimit()
    with limit:
        limit.begin()
        parser(line)
        limit.end()


def made(head: str, repeated: str, tail: str, size: int) -> str:
    return head + repeated * ((size - len(head) - len(tail)) // len(repeated)) + tail


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("size", [LONGEST_BAR, SIZE])
def test_a_line_of_one_repeated_part_is_parsed_within_the_limit(parser: Callable[[str], Any], size: int) -> None:
    for head in HEADS:
        for unit in UNITS:
            within_limit(parser, made(head, unit, "!", size))


@given(st.sampled_from(PARSERS), st.sampled_from(HEADS), parts, st.sampled_from(["", "!", "]", "|", "}", "%|"]))
def test_a_line_of_mixed_parts_is_parsed_within_the_limit(
    parser: Callable[[str], Any], head: str, repeated: str, tail: str
) -> None:
    within_limit(parser, made(head, repeated, tail, SIZE))


@pytest.mark.parametrize(
    "bar", [" 5%|#| 1.2.3/5 [a]", "5%|#| ./5 [a]", "5%|#| 1/5.. [a]", "5%|#|1/" + "9" * 500 + " [a]"]
)
def test_what_only_looks_like_a_bar_is_text(bar: str) -> None:
    assert split_bar(bar) == (None, [bar])


def test_a_bar_before_a_long_text_is_found() -> None:
    bar, text = "train: 50%|#####     | 5/10 [00:01<00:01, 5.0it/s]", "x" * SIZE
    found, parts = split_bar(bar + text)
    assert (found.label, found.done, found.total) == ("train", 5, 10) if found else False
    assert parts == [bar, text]


def test_the_second_of_two_drawings_is_found_if_the_first_is_not_a_bar() -> None:
    found, _ = split_bar("100%| done | eval: 50%|##| 1.50k/3.0k [00:01<00:01]")
    assert (found.label, found.done, found.total) == ("eval", 1500, 3000) if found else False


def test_lines_of_several_megabytes_are_cut_and_parsed_within_the_limit(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("1%|#| 1/1 [" * 300_000 + "\nnext\n")
    found = [line for line, _ in LogLines(str(log)).read()]
    assert [len(line) for line in found] == [LINE_LIMIT, len("next")]
    for parser in PARSERS:
        within_limit(parser, found[0])


@pytest.mark.parametrize("failure", [ValueError("a mistake"), LineTookTooLong()])
def test_a_failure_of_the_parser_of_bars_loses_the_bar_and_nothing_else(
    failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(line: str) -> None:
        raise failure

    monkeypatch.setattr(log_follower, "split_bar", fail)
    follower = LogFollower.__new__(LogFollower)
    follower._limit = LineLimit()
    assert follower._show_bar("5%|#| 1/2 [a]") == ["5%|#| 1/2 [a]"]
    assert not follower._limit._is_inside
