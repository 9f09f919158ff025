"""Draws the samples of a dataset with which a model is probed.

`data_probe_ratio` of a recipe (default 1) is the share of the dataset that is drawn by any algorithm: of N samples
ceil(ratio * N), or fewer if the algorithm has fewer candidates. Data-Juicer's `sample_data` uses it only for uniform
samples.

`data_probe_algo` is the name of an algorithm, or a mapping from its name to its parameters, like an operator:

uniform    each sample with equal probability; `seed` (default 42)
topk       samples with the largest numbers at `field_key`, the first of equal ones; `reverse: false`: the smallest
frequency  samples with the most frequent values at `field_key`, of equally frequent values the first one;
           `reverse: false`: the rarest
range      at random from samples whose number at `field_key` has a rank between `lower_percentile` and
           `upper_percentile` (shares from 0 to 1) and `lower_rank` and `upper_rank`; `seed`
tags       at random from samples whose value at `field_key` is one of `target_tags`; `seed`

The names of Data-Juicer's selectors mean the same: `topk_specified_field_selector`, `random_selector`, ... A
`field_key` is dotted; a list of numbers counts by its mean. topk and range ignore samples without a number. The drawn
samples keep the order of the dataset.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.data.recipe import recipe_error

RATIO, ALGO = "data_probe_ratio", "data_probe_algo"

_FIELD = ("field_key",)
ALGORITHMS: dict[str, tuple[str, ...]] = {
    "uniform": ("seed",),
    "topk": (*_FIELD, "reverse"),
    "frequency": (*_FIELD, "reverse"),
    "range": (*_FIELD, "lower_percentile", "upper_percentile", "lower_rank", "upper_rank", "seed"),
    "tags": (*_FIELD, "target_tags", "seed"),
}
"""The parameters of each algorithm."""

ALIASES = {"random_selector": "uniform"} | {
    f"{name}_specified_field_selector": name for name in ("topk", "frequency", "range", "tags")
}

_SEED = 42

Values = Callable[[str], Sequence[Any]]
"""The value at a dotted key in each sample, None if it has none."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The sample that a recipe asks for."""

    ratio: float = 1.0
    algorithm: str = "uniform"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def choose(self, size: int, values: Values) -> list[int]:
        """The indices of the samples to draw from a dataset of `size`, in order."""
        wanted = max(1, math.ceil(round(self.ratio * size, 9)))  # 0.07 * 100 is 7.000000000000001
        if self.algorithm in ("topk", "frequency"):
            ranked = self._ranked(values(self.parameters["field_key"]))
            return sorted(ranked[:wanted])
        candidates = self._candidates(size, values)
        drawn = random.Random(self.parameters.get("seed", _SEED)).sample(candidates, min(wanted, len(candidates)))
        return sorted(drawn)

    def _ranked(self, values: Sequence[Any]) -> list[int]:
        is_reversed = bool(self.parameters.get("reverse", True))
        if self.algorithm == "topk":
            numbers = _numbers(values)
            return sorted(numbers, key=lambda place: -numbers[place] if is_reversed else numbers[place])
        names = [repr(value) for value in values]
        counts, first = Counter(names), {name: place for place, name in reversed(list(enumerate(names)))}
        sign = -1 if is_reversed else 1
        return sorted(range(len(names)), key=lambda place: (sign * counts[names[place]], first[names[place]], place))

    def _candidates(self, size: int, values: Values) -> list[int]:
        if self.algorithm == "uniform":
            return list(range(size))
        found = values(self.parameters["field_key"])
        if self.algorithm == "tags":
            tags = self.parameters["target_tags"]
            return [place for place, value in enumerate(found) if value in tags]
        numbers = _numbers(found)
        ranked = sorted(numbers, key=numbers.__getitem__)
        lowest, highest = 0, len(ranked)
        if self.parameters.get("lower_percentile") is not None:
            lowest = int(self.parameters["lower_percentile"] * len(ranked))
        if self.parameters.get("upper_percentile") is not None:
            highest = int(self.parameters["upper_percentile"] * len(ranked))
        lowest = max(lowest, self.parameters.get("lower_rank") or 0)
        highest = min(highest, self.parameters.get("upper_rank") or len(ranked))
        return sorted(ranked[lowest:highest])


def probe_of(recipe: Mapping[str, Any]) -> Probe:
    """Raises ConfigError for an impossible ratio or algorithm."""
    ratio = recipe.get(RATIO, 1.0)
    if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio <= 1:
        raise recipe_error(RATIO, f"must be a share above 0 and up to 1, not {ratio!r}")
    name, parameters = _named(recipe.get(ALGO) or "uniform")
    algorithm = ALIASES.get(name, name)
    if algorithm not in ALGORITHMS:
        raise recipe_error(ALGO, f"no algorithm {name!r}; known: {', '.join(ALGORITHMS)}")
    known = ALGORITHMS[algorithm]
    for unknown in [key for key in parameters if key not in known]:
        raise recipe_error(f"{ALGO}.{name}.{unknown}", f"unknown; the parameters of {name} are {', '.join(known)}")
    for needed in ("field_key", "target_tags"):
        if needed in known and not parameters.get(needed):
            raise recipe_error(f"{ALGO}.{name}", f"needs {needed}: write {ALGO}: {{{name}: {{{needed}: ...}}}}")
    return Probe(ratio=float(ratio), algorithm=algorithm, parameters=parameters)


def _named(algo: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(algo, str):
        return algo, {}
    if isinstance(algo, Mapping) and len(algo) == 1:
        ((name, parameters),) = algo.items()
        if isinstance(parameters, (Mapping, type(None))):
            return str(name), parameters or {}
    raise recipe_error(ALGO, f"must be the name of an algorithm, with its parameters below it, not {algo!r:.80}")


def _numbers(values: Sequence[Any]) -> dict[int, float]:
    """The values that are numbers, by index."""
    numbers = {place: number_at(value) for place, value in enumerate(values)}
    return {place: number for place, number in numbers.items() if number is not None}


def number_at(value: Any) -> float | None:
    """A value as a number: the mean of the numbers in a list, None if it is not a finite number."""
    if isinstance(value, (list, tuple)):
        parts = [number_at(part) for part in value]
        known = [part for part in parts if part is not None]
        return math.fsum(known) / len(known) if known else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
