"""Pipelines side by side: their results, how long they took, and how many of their jobs ran warm."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox_actors.cli.view import text
from sandbox_actors.protocol.rows import JobRow, MetricRow

Found = dict[tuple[str, str], Any]
"""The results of one pipeline: values by job and name."""


@dataclass(frozen=True)
class Comparison:
    """`rows` are label, cells, and difference. There is a cell of text for each of `pipelines`, empty where it has no
    such result; with two pipelines, `difference` is the change from the first number to the second, in percent.
    """

    pipelines: list[str]
    rows: list[tuple[str, list[str], str]]


def compare(jobs: Mapping[str, list[JobRow]], results: Iterable[MetricRow]) -> Comparison:
    """`jobs` by pipeline, in the order of the columns.

    A result is a point without a step whose name, without the prefix of its job, has no dot: the others are details.
    """
    found: dict[str, Found] = {pipeline: {} for pipeline in jobs}
    for row in results:
        name = row.name.removeprefix(f"{row.job}.")
        if row.pipeline in found and row.step is None and "." not in name:
            found[row.pipeline][row.job, name] = row.value
    labelled = _labelled(found)
    rows = [_row(label, [of.get(label, _NOTHING) for of in labelled.values()]) for label in _merged(labelled.values())]
    rows.append(_row("seconds", [round(sum(job.seconds or 0.0 for job in each), 1) for each in jobs.values()]))
    rows.append(("actors", [_warmth(each) for each in jobs.values()], ""))
    return Comparison([text.one_line(name) for name in jobs], rows)


_NOTHING = object()


def _labelled(found: Mapping[str, Found]) -> dict[str, dict[str, Any]]:
    """The results by label: a name, with its job as prefix where two jobs of a pipeline have a result of that name."""
    several = {
        name for results in found.values() for name, count in Counter(name for _, name in results).items() if count > 1
    }
    return {
        pipeline: {
            f"{job}.{name}" if name in several and job else name: value for (job, name), value in results.items()
        }
        for pipeline, results in found.items()
    }


def _merged(orders: Iterable[Iterable[str]]) -> list[str]:
    """Every label once; one that only a later pipeline has comes after the label that precedes it there."""
    merged: list[str] = []
    for order in orders:
        place = 0
        for label in order:
            if label not in merged:
                merged.insert(place, label)
            place = merged.index(label) + 1
    return merged


def _row(label: str, values: list[Any]) -> tuple[str, list[str], str]:
    cells = ["" if each is _NOTHING else text.value(each) for each in values]
    return text.one_line(label), cells, _difference(*values) if len(values) == 2 else ""


def _difference(first: Any, second: Any) -> str:
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (first, second)):
        return ""
    if not first or not second or first == second or not math.isfinite(second / first) or abs(second / first) > 10:
        return ""
    return f"{second / first - 1:+.1%}"


def _warmth(jobs: list[JobRow]) -> str:
    counts = Counter(job.warm for job in jobs if job.warm is not None)
    return ", ".join(f"{counts[warm]} {text.warmth(warm)}" for warm in (True, False) if counts[warm])
