"""What components return is converted to values that JSON can hold."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import os
import subprocess
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from envs.builder import build
from envs.specs import EnvSpec
from sandbox_actors.errors import ContextError
from sandbox_actors.worker import plain_values
from sandbox_actors.worker.plain_values import MAX_DEPTH, RESULT_LIMIT, outcome_of, plain

ROOT = Path(__file__).parents[3]


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Scores:
    good: float
    where: PurePosixPath


Pair = namedtuple("Pair", "left right")


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (None, None),
        (0, 0),
        ("", ""),
        ({}, {}),
        ({1: {True: "x"}, None: 2}, {"1": {"True": "x"}, "None": 2}),
        ({"b"}, ["b"]),
        ((1, (2,)), [1, [2]]),
        (PurePosixPath("out/a.jsonl"), "out/a.jsonl"),
        (datetime.date(2026, 5, 1), "2026-05-01"),
        (datetime.datetime(2026, 5, 1, 12, 30, tzinfo=datetime.UTC), "2026-05-01T12:30:00+00:00"),
        (datetime.time(7, 5), "07:05:00"),
        (decimal.Decimal("1.5"), 1.5),
        (Colour.RED, "red"),
        (Scores(0.5, PurePosixPath("a")), {"good": 0.5, "where": "a"}),
        (2**64, str(2**64)),
        (-(2**63), -(2**63)),
    ],
)
def test_results_are_converted_to_values_that_json_can_hold(value: Any, held: Any) -> None:
    assert plain(value, "the output") == held
    json.dumps(plain(value, "the output"))


def test_a_tuple_is_several_outputs_and_a_named_one_is_one() -> None:
    assert outcome_of((1, "a")).values == [1, "a"]
    assert outcome_of((1, "a")).is_tuple
    assert outcome_of(Pair(1, 2)).values == [[1, 2]]
    assert not outcome_of([1, 2]).is_tuple


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (object(), r"^the output is a builtins\.object, which cannot be recorded"),
        ((1, {"deep": [open]}), r"^output 1\.deep\.0 is a builtins\.builtin_function_or_method"),
        ({(1, 2): 3}, "^the output has a key of type tuple"),
        (b"bytes", r"^the output is a builtins\.bytes"),
    ],
)
def test_a_value_that_cannot_be_converted_is_an_error_that_names_the_output(result: Any, message: str) -> None:
    with pytest.raises(ContextError, match=message):
        outcome_of(result)


def test_a_value_that_contains_itself_is_an_error() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ContextError, match=f"nested more than {MAX_DEPTH} levels deep, or contains itself"):
        outcome_of(endless)


NUMPY_AND_PANDAS = """
import datetime, json, sys
import numpy, pandas
from sandbox_actors.worker.plain_values import plain

values = {
    "scalar": numpy.float32(0.5),
    "integer": numpy.int64(7),
    "truth": numpy.bool_(True),
    "array": numpy.arange(6).reshape(2, 3),
    "when": numpy.array(["2026-05-01"], dtype="datetime64[D]"),
    "frame": pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    "series": pandas.Series([0.25, 0.5]),
    "stamp": pandas.Timestamp("2026-05-01T12:00"),
}
json.dump(plain(values, "the output"), sys.stdout)
"""


def test_values_of_numpy_and_pandas_are_recorded_as_numbers_lists_and_mappings(shared_envs: Path) -> None:
    env = build(EnvSpec(name="frames", manager="uv", deps=("numpy", "pandas")), shared_envs)
    done = subprocess.run(
        [env.python, "-c", NUMPY_AND_PANDAS],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert json.loads(done.stdout) == {
        "scalar": 0.5,
        "integer": 7,
        "truth": True,
        "array": [[0, 1, 2], [3, 4, 5]],
        "when": ["2026-05-01"],
        "frame": {"a": {"0": 1, "1": 2}, "b": {"0": "x", "1": "y"}},
        "series": [0.25, 0.5],
        "stamp": "2026-05-01T12:00:00",
    }


SURROGATE = os.fsdecode(b"caf\xe9.txt")


class Words(str):
    """As numpy has a text of its own."""


def doubled(levels: int) -> list[Any]:
    """A list with two to the power of `levels` values, which takes next to no memory."""
    return [doubled(levels - 1)] * 2 if levels else []


class Array:
    """An array of `nbytes`, which nobody must make a list of."""

    nbytes = 10**12

    def tolist(self) -> Any:
        raise AssertionError("makes a list of a large array")


class Endless:
    def tolist(self) -> Any:
        return self


class Silent:
    def tolist(self) -> Any:
        raise OSError("no list")

    def __repr__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("x" * RESULT_LIMIT, r"^the output takes 4,194,309 bytes, and the limit is 4,194,304: write it to a file"),
        (("a", "x" * RESULT_LIMIT), r"^output 1 takes 4,194,309 bytes of 4,194,311 for all outputs"),
        (("x" * 3_000_000, "x" * 2_000_000), r"^output 0 takes 3,000,005 bytes of 5,000,010 for all outputs"),
        ([0.5] * 500_000, r"^the output takes 4,500,005 bytes"),
        ({f"key {number}": number for number in range(400_000)}, r"^the output takes"),
        ({"weights": Array()}, r"^the output\.weights takes 1,000,000,000,000 bytes"),
        ({"path": SURROGATE}, r"^the output\.path is 'caf\\udce9\.txt', which cannot be encoded as UTF-8"),
        ({SURROGATE: 1}, r"^a key of the output is 'caf\\udce9\.txt'"),
        (Path(SURROGATE), r"^the output is 'caf\\udce9\.txt'"),
        ({1: "a", "1": "b"}, r"^the output has several keys that are '1' as text"),
        ({True: "a", "True": "b"}, r"^the output has several keys that are 'True' as text"),
        ([10**5_000], r"^the output cannot be recorded: ValueError: Exceeds the limit"),
        (decimal.Decimal("sNaN"), r"^the output cannot be recorded: ValueError"),
        ((1, Silent()), r"^output 1 cannot be recorded: OSError: no list"),
        (Endless(), "contains itself"),
        ((number for number in range(3)), r"^the output is a builtins\.generator"),
    ],
)
def test_what_would_be_recorded_wrongly_or_is_too_large_is_refused_by_name(result: Any, message: str) -> None:
    with pytest.raises(ContextError, match=message):
        outcome_of(result)


def test_a_small_object_with_very_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_values, "RESULT_LIMIT", 10_000)
    with pytest.raises(ContextError, match="the output has more than 10,000 values"):
        outcome_of(doubled(60))


def test_text_of_a_class_of_its_own_becomes_text() -> None:
    (value,) = outcome_of(Words("é")).values
    assert type(value) is str


def test_a_metric_keeps_text_that_is_shown_and_not_used() -> None:
    assert plain({SURROGATE: SURROGATE}, "name", is_shown=True) == {SURROGATE: SURROGATE}
