"""Refines a recipe by model feedback: its bounds are fitted to the samples that a model can learn from.

Given the statistics of each sample and a measure that a model gave it (a loss, a perplexity), a sample is *in the band*
if its measure lies between two quantiles of the measure, by default the 20th and the 80th percentile: neither trivial
nor hopeless. For each filter of the recipe and each statistic x that it bounds, the interval I of x is chosen that
separates both best:

    I = argmax  P(x in I | in the band) - w P(x in I | outside it)

over all intervals whose ends are values of x, or infinite if the recipe has no bound there. With w = 1 this is Youden's
J, the share kept of the band minus the share kept of the rest. If this interval would keep less than `coverage` of the
band, w is the largest value below 1 whose interval keeps that much, found by bisection. Of equally good intervals, the
one with more of the band is taken. The search is exact: with samples sorted by x, each distinct value adds its share of
the band minus w times its share of the rest, and the best interval is the run with the largest sum. More than 1,024
distinct values are merged into 1,024 groups of neighbours, of about equal size.

A statistic that is independent of the band also has a best interval, by chance. So bounds are only moved if J is
significant: with D the largest J, n and m the numbers of samples in and outside the band, and
l = D sqrt(n m / (n + m)), the probability of such a D by chance is

    exp(-2 l^2)                                   for one bound (Smirnov's one-sided test of two samples)
    2 sum over j of (4 j^2 l^2 - 1) exp(-2 j^2 l^2)   for two (Kuiper's, whose statistic D never exceeds)

which must not exceed `significance`. At least ten samples are needed on either side.

A bound stays unchanged if its end of I is the end of the data and it excludes no sample. A list of numbers, for
instance one for each image of a sample, counts by its mean. Samples without a finite measure are ignored. For rounding,
see `bounds.py`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from components.data.bounds import Bound, BoundChange, Columns, bounds_of, changed
from components.data.jsonl import read_lines
from components.data.refining import Refiner, read_columns
from components.data.sampling import number_at
from sandbox_actors.dotted import find_or_none
from sandbox_actors.errors import ComponentFailed

FEWEST = 10
_GROUPS = 1024
_BISECTIONS = 40


@dataclass(frozen=True)
class Settings:
    band: tuple[float, float] = (0.2, 0.8)
    coverage: float = 0.8
    significance: float = 0.01


@dataclass(frozen=True)
class Interval:
    """`kept` and `rest` are the shares of the band and of the other samples inside."""

    low: float
    high: float
    kept: float
    rest: float

    @property
    def j(self) -> float:
        return self.kept - self.rest


def refine(
    recipe: Mapping[str, Any], columns: Columns, measures: Sequence[float | None], settings: Settings = Settings()
) -> tuple[dict[str, Any], list[BoundChange]]:
    """A copy of the recipe with its bounds fitted, and the change of each bound, in the recipe's order.

    `columns` and `measures` are of the same samples in the same order. Raises ComponentFailed if no sample has a
    measure.
    """
    refined = copy.deepcopy(dict(recipe))
    in_band = band_of(measures, settings.band)
    changes: list[BoundChange] = []
    for _, bounds in groupby(bounds_of(refined), key=lambda bound: (id(bound.arguments), bound.statistics)):
        changes += _fitted(list(bounds), columns, in_band, settings)
    return refined, changes


def band_of(measures: Sequence[float | None], band: tuple[float, float]) -> list[bool | None]:
    """Whether each sample is in the band, None if it has no measure. Quantiles are linearly interpolated."""
    known = sorted(value for value in measures if value is not None)
    if not known:
        raise ComponentFailed("no sample has a finite measure")
    low, high = (quantile(known, share) for share in band)
    return [None if value is None else low <= value <= high for value in measures]


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values, linearly interpolated."""
    position = share * (len(values) - 1)
    below = math.floor(position)
    above = min(below + 1, len(values) - 1)
    return values[below] + (position - below) * (values[above] - values[below])


def _fitted(
    bounds: list[Bound], columns: Columns, in_band: Sequence[bool | None], settings: Settings
) -> Iterator[BoundChange]:
    """The bounds of one operator on one statistic."""
    found = [name for name in bounds[0].statistics if name in columns]
    free = [bound for bound in bounds if not bound.obstacle]
    sides = {bound.is_lower for bound in free}
    interval, reason = None, ""
    if len(found) != 1:
        reason = f"the dataset has {'several of' if found else 'no'} {', '.join(bounds[0].statistics)}"
    elif free:
        interval, reason = fit(
            [number_at(value) for value in columns[found[0]]], in_band, settings, True in sides, False in sides
        )
    for bound in bounds:
        if bound.obstacle or interval is None:
            yield changed(bound, reason=bound.obstacle or reason, statistic=found[0] if found else "", columns=columns)
        elif _is_idle(bound, interval, columns[found[0]]):
            yield changed(
                bound,
                reason="excludes no sample, and the data give no reason to move it",
                statistic=found[0],
                columns=columns,
            )
        else:
            end = interval.low if bound.is_lower else interval.high
            yield changed(bound, bound.written(end, found[0]), found[0], columns=columns)


def _is_idle(bound: Bound, interval: Interval, values: Sequence[Any]) -> bool:
    """Whether the bound excludes no sample, and the interval reaches the end of the data on its side."""
    numbers = [number for number in map(number_at, values) if number is not None]
    at_end = interval.low <= min(numbers) if bound.is_lower else interval.high >= max(numbers)
    return at_end and bound.number is not None and not any(bound.excludes(bound.number, value) for value in values)


def fit(
    values: Sequence[float | None],
    in_band: Sequence[bool | None],
    settings: Settings = Settings(),
    has_lower: bool = True,
    has_upper: bool = True,
) -> tuple[Interval | None, str]:
    """The interval for one statistic, or None and the reason not to move its bounds."""
    pairs = sorted(
        (value, is_in) for value, is_in in zip(values, in_band, strict=True) if value is not None and is_in is not None
    )
    inside = sum(is_in for _, is_in in pairs)
    outside = len(pairs) - inside
    if min(inside, outside) < FEWEST:
        return None, f"{inside} samples in the band and {outside} outside it are too few"
    groups = list(_groups(pairs, inside, outside))
    best = best_interval(groups, 1.0, has_lower, has_upper)
    if chance(best.j, inside, outside, has_lower and has_upper) > settings.significance:
        return None, f"unrelated to the band: J {max(best.j, 0.0):.2f} may be chance"
    if best.kept < settings.coverage:
        best = _covering(groups, settings.coverage, has_lower, has_upper)
    return best, ""


def best_interval(groups: Sequence[Interval], weight: float, has_lower: bool, has_upper: bool) -> Interval:
    """The run of consecutive groups with the largest kept - weight * rest."""
    best: tuple[float, float, int, int] | None = None
    start, total, kept = 0, 0.0, 0.0
    for place, group in enumerate(groups):
        if has_lower and total < -1e-12:
            start, total, kept = place, 0.0, 0.0
        total += group.kept - weight * group.rest
        kept += group.kept
        is_end = has_upper or place == len(groups) - 1
        if is_end and (best is None or (round(total, 12), kept) > best[:2]):
            best = (round(total, 12), kept, start, place)
    assert best is not None
    run = groups[best[2] : best[3] + 1]
    return Interval(run[0].low, run[-1].high, sum(each.kept for each in run), sum(each.rest for each in run))


def chance(j: float, inside: int, outside: int, has_two: bool) -> float:
    """The probability that an unrelated statistic has an interval with such a J."""
    square = j * abs(j) * inside * outside / (inside + outside)
    if square <= 0:
        return 1.0
    if not has_two:
        return math.exp(-2 * square)
    if square < 0.16:  # the series converges slowly here, and the result is 1 in all relevant digits
        return 1.0
    terms = ((4 * n * n * square - 1) * math.exp(-2 * n * n * square) for n in range(1, 101))
    return min(1.0, 2 * math.fsum(terms))


def _covering(groups: Sequence[Interval], coverage: float, has_lower: bool, has_upper: bool) -> Interval:
    """The best interval at the largest weight with which it keeps `coverage` of the band. At 0 it keeps everything."""
    low, high = 0.0, 1.0
    best = best_interval(groups, 0.0, has_lower, has_upper)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = best_interval(groups, middle, has_lower, has_upper)
        if found.kept >= coverage - 1e-9:
            low, best = middle, found
        else:
            high = middle
    return best


def _groups(pairs: Sequence[tuple[float, bool]], inside: int, outside: int) -> Iterator[Interval]:
    """Each distinct value with its shares; neighbours are merged if there are many."""
    size = len(pairs) / _GROUPS if len({value for value, _ in pairs}) > _GROUPS else 0
    group: list[tuple[float, bool]] = []
    for _, same in groupby(pairs, key=lambda pair: pair[0]):
        group += same
        if len(group) >= size:
            yield _group(group, inside, outside)
            group = []
    if group:
        yield _group(group, inside, outside)


def _group(pairs: Sequence[tuple[float, bool]], inside: int, outside: int) -> Interval:
    ins = sum(is_in for _, is_in in pairs)
    return Interval(pairs[0][0], pairs[-1][0], ins / inside, (len(pairs) - ins) / outside)


class FeedbackRefiner(Refiner):
    """Refines a recipe and writes the new one.

    recipe                      the recipe, a mapping
    path_model_feedback_recipe  the path of the refined recipe: .yaml, .yml or .json
    dataset_path                a dataset whose samples have their statistics (default: that of the analysis which a job
                                of the same meta_name has made)
    measure_key                 the dotted key of the measure: `loss`, `scores.perplexity`
    measure_path                the file with the measures, with the same samples line by line (default: the dataset)
    band                        two quantiles of the measure (default [0.2, 0.8])
    coverage                    the share of the band that each operator must keep (default 0.8)
    significance                the largest probability that a bound is moved by chance (default 0.01)

    `run` returns a mapping: `path`, `changes`, the moved bounds, and `bounds`, the change of each bound.
    """

    required = ("path_model_feedback_recipe", "measure_key")
    reads = ("dataset_path", "measure_path")
    keys = (*required, *reads, "band", "coverage", "significance", "analysis")
    path_key = "path_model_feedback_recipe"
    method = "model feedback"

    def run(self) -> dict[str, Any]:
        path, recipe, settings = self.path(), self.recipe(), self.settings()
        dataset, measured = self._files()
        columns = read_columns(dataset)
        if not columns:
            raise self.error(
                "dataset_path", f"no sample of {dataset} has statistics; compute them with ProbeViaAnalyzerHook"
            )
        measures = self._measures(dataset, measured)
        refined, changes = refine(recipe, _padded(columns, len(measures)), measures, settings)
        low, high = settings.band
        return self.deliver(
            refined, path, changes, f"model feedback, {self.config['measure_key']} in [{low:g}, {high:g}]"
        )

    def settings(self) -> Settings:
        band = self.config.get("band", [0.2, 0.8])
        if not isinstance(band, list) or len(band) != 2 or not all(map(_is_share, band)) or band[0] >= band[1]:
            raise self.error("band", f"must be two quantiles of the measure such as [0.2, 0.8], not {band!r}")
        others = {"coverage": 0.8, "significance": 0.01}
        for key, default in others.items():
            others[key] = self.config.get(key, default)
            if not _is_share(others[key]):
                raise self.error(key, f"must be a share from 0 to 1, not {others[key]!r}")
        return Settings(band=(band[0], band[1]), **others)

    def _files(self) -> tuple[Path, Path]:
        analysis = self.config.get("analysis") or {}
        dataset = self.config.get("dataset_path") or analysis.get("files", {}).get("dataset")
        if not isinstance(dataset, str):
            raise self.error("dataset_path", "missing: an analysed dataset, whose samples have their statistics")
        for key, path in (("dataset_path", dataset), ("measure_path", self.config.get("measure_path") or dataset)):
            if not Path(path).is_file():
                raise self.error(key, f"{path} is not a file (searched from {Path.cwd()})")
        return Path(dataset), Path(self.config.get("measure_path") or dataset)

    def _measures(self, dataset: Path, measured: Path) -> list[float | None]:
        key = self.config.get("measure_key")
        if not isinstance(key, str) or not key:
            raise self.error("measure_key", "missing: the dotted key of the model's measure, for instance loss")
        measures: list[float | None] = []
        others = read_lines(dataset) if measured != dataset else None
        for line, other in zip_longest(read_lines(measured), others or ()):
            if others is not None and (line is None or other is None):
                ended, more = (measured, dataset) if line is None else (dataset, measured)
                raise ComponentFailed(f"{ended} ends after {len(measures)} samples, {more} has more: they do not match")
            measures.append(number_at(find_or_none(line.sample, key)))
        if all(measure is None for measure in measures):
            raise self.error("measure_key", f"no sample of {measured} has a number at {key!r}")
        return measures


def _padded(columns: Columns, size: int) -> dict[str, list[Any]]:
    return {name: [*column, *[None] * (size - len(column))] for name, column in columns.items()}


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
