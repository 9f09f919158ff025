"""Which samples are drawn to probe a model with."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.sampling import ALGORITHMS, ALIASES, Probe, probe_of
from sandbox_actors.errors import ConfigError

NUMBERS = [3, 1, None, 2.5, [1, 9], "7", 3, float("nan")]
WORDS = ["b", "a", "c", "a", None, "b", "a", None, None]


def chosen(algo: Any, ratio: float, values: list[Any]) -> list[int]:
    return probe_of({"data_probe_ratio": ratio, "data_probe_algo": algo}).choose(len(values), lambda key: values)


@given(st.floats(0.001, 1), st.integers(1, 300), st.sampled_from(["uniform", "topk", "frequency", "range", "tags"]))
def test_the_ratio_holds_for_every_algorithm(ratio: float, size: int, algorithm: str) -> None:
    parameters = {"uniform": {}, "tags": {"field_key": "x", "target_tags": list(range(size))}}
    places = chosen({algorithm: parameters.get(algorithm, {"field_key": "x"})}, ratio, list(range(size)))
    assert len(places) == max(1, math.ceil(round(ratio * size, 9)))
    assert places == sorted(set(places))
    assert set(places) <= set(range(size))


def test_a_ratio_means_what_is_written() -> None:
    assert len(chosen("uniform", 0.07, list(range(100)))) == 7
    assert len(chosen("uniform", 0.001, list(range(10)))) == 1
    assert probe_of({}) == Probe(ratio=1.0, algorithm="uniform", parameters={})


def test_uniform_samples_depend_on_the_seed_alone() -> None:
    values = list(range(1000))
    assert chosen("uniform", 0.1, values) == chosen({"random_selector": {"seed": 42}}, 0.1, values)
    assert chosen("uniform", 0.1, values) != chosen({"uniform": {"seed": 1}}, 0.1, values)
    halves = Counter(place < 500 for place in chosen("uniform", 0.4, values))
    assert min(halves.values()) > 150


def test_topk_takes_the_largest_and_of_equal_ones_the_first() -> None:
    assert chosen({"topk": {"field_key": "x"}}, 0.25, NUMBERS) == [0, 4]
    assert chosen({"topk_specified_field_selector": {"field_key": "x"}}, 3 / 8, NUMBERS) == [0, 4, 6]
    assert chosen({"topk": {"field_key": "x", "reverse": False}}, 0.25, NUMBERS) == [1, 3]


def test_what_is_no_number_is_no_candidate() -> None:
    assert chosen({"topk": {"field_key": "x"}}, 1.0, NUMBERS) == [0, 1, 3, 4, 6]
    assert chosen({"range": {"field_key": "x"}}, 1.0, NUMBERS) == [0, 1, 3, 4, 6]


def test_frequency_takes_the_most_frequent_values_first() -> None:
    assert chosen({"frequency": {"field_key": "x"}}, 3 / 9, WORDS) == [1, 3, 6]
    assert chosen({"frequency": {"field_key": "x"}}, 4 / 9, WORDS) == [1, 3, 4, 6]
    assert chosen({"frequency": {"field_key": "x", "reverse": False}}, 2 / 9, WORDS) == [0, 2]


def test_a_range_is_of_ranks_among_the_values() -> None:
    values = list(range(100, 0, -1))
    places = chosen({"range": {"field_key": "x", "lower_percentile": 0.5, "upper_percentile": 0.6}}, 1.0, values)
    assert sorted(values[place] for place in places) == list(range(51, 61))
    places = chosen({"range": {"field_key": "x", "lower_rank": 90, "upper_percentile": 0.95}}, 0.02, values)
    assert len(places) == 2
    assert {values[place] for place in places} <= set(range(91, 96))


def test_tags_are_values_that_are_wanted() -> None:
    tags = {"tags_specified_field_selector": {"field_key": "x", "target_tags": ["b", "c"]}}
    assert chosen(tags, 1.0, WORDS) == [0, 2, 5]
    assert len(chosen(tags, 0.2, WORDS)) == 2


@pytest.mark.parametrize(
    ("recipe", "path"),
    [
        ({"data_probe_ratio": 0}, "data_probe_ratio"),
        ({"data_probe_ratio": 1.5}, "data_probe_ratio"),
        ({"data_probe_ratio": True}, "data_probe_ratio"),
        ({"data_probe_ratio": "half"}, "data_probe_ratio"),
        ({"data_probe_algo": "unifrom"}, "data_probe_algo"),
        ({"data_probe_algo": ["uniform"]}, "data_probe_algo"),
        ({"data_probe_algo": {"uniform": 3}}, "data_probe_algo"),
        ({"data_probe_algo": {"uniform": {"sed": 3}}}, "data_probe_algo.uniform.sed"),
        ({"data_probe_algo": "topk"}, "data_probe_algo.topk"),
        ({"data_probe_algo": {"tags": {"field_key": "x"}}}, "data_probe_algo.tags"),
    ],
)
def test_what_cannot_be_drawn_is_told(recipe: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as raised:
        probe_of(recipe)
    assert [problem.path for problem in raised.value.problems] == [path]


def test_every_alias_is_of_an_algorithm_there_is() -> None:
    assert set(ALIASES.values()) == set(ALGORITHMS)
