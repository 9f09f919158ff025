"""Bounds of refined recipes and statistics of analyses, collected from the metrics of their jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox_actors.protocol.rows import MetricRow

ROWS = ("count", "mean", "std", "min", "50%", "max")
"""The rows of an analysis that are shown."""


@dataclass
class RefinedBound:
    """`values` has before, after, statistic, reason, gone_before and gone_after, those that were recorded."""

    pipeline: str
    job: str
    operator: str
    parameter: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Analysis:
    """`files` are paths by kind, `statistics` values by statistic and row."""

    pipeline: str
    job: str
    files: dict[str, str] = field(default_factory=dict)
    statistics: dict[str, dict[str, Any]] = field(default_factory=dict)


def refined_bounds(results: Iterable[MetricRow]) -> list[RefinedBound]:
    """From `<job>.bounds.<operator>.<parameter>.<what>`, in the order in which they were recorded."""
    found: dict[tuple[str, str, str, str], RefinedBound] = {}
    for row, parts in _parts(results):
        if len(parts) == 4 and parts[0] == "bounds":
            _, operator, parameter, what = parts
            key = row.pipeline, row.job, operator, parameter
            found.setdefault(key, RefinedBound(*key)).values[what] = row.value
    return list(found.values())


def analyses(results: Iterable[MetricRow]) -> list[Analysis]:
    """From `<job>.files.<what>` and `<job>.<row>.<statistic>` of jobs that have both."""
    found: dict[tuple[str, str], Analysis] = {}
    for row, parts in _parts(results):
        if len(parts) < 2 or (parts[0] != "files" and parts[0] not in ROWS):
            continue
        analysis = found.setdefault((row.pipeline, row.job), Analysis(row.pipeline, row.job))
        below = ".".join(parts[1:])
        if parts[0] == "files":
            analysis.files[below] = str(row.value)
        else:
            analysis.statistics.setdefault(below, {})[parts[0]] = row.value
    return [each for each in found.values() if "analysis" in each.files]


def _parts(results: Iterable[MetricRow]) -> Iterator[tuple[MetricRow, list[str]]]:
    """Each result with the parts of its name, without the prefix of its job."""
    for row in results:
        yield row, row.name.removeprefix(f"{row.job}.").split(".")
