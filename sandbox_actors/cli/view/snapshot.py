"""The current state of an experiment, accumulated from the answers to `Changes`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sandbox_actors.cli.view.text import one_line
from sandbox_actors.protocol.client_requests import Changed
from sandbox_actors.protocol.rows import ENDED, ExperimentRow, JobRow, MetricRow, ProgressBar

SERIES_POINTS = 512
"""Values kept of a series; a longer one is reduced to the means of 2, 4, ... adjacent values."""


@dataclass
class Series:
    """A metric with steps, downsampled evenly as it grows. `last` and `step` are those of the newest point."""

    name: str
    last: float = math.nan
    step: int = 0
    count: int = 0
    values: list[float] = field(default_factory=list)
    _stride: int = 1
    _rest: list[float] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        self.last, self.step, self.count = value, step, self.count + 1
        self._rest.append(value)
        if len(self._rest) < self._stride:
            return
        self.values.append(_mean(self._rest))
        self._rest.clear()
        if len(self.values) > SERIES_POINTS:
            pairs = zip(self.values[::2], self.values[1::2], strict=False)
            self._rest = [self.values[-1]] * self._stride if len(self.values) % 2 else []
            self.values = [_mean(list(pair)) for pair in pairs]
            self._stride *= 2


class Snapshot:
    """`update` it with each answer. Jobs are in the order in which they run."""

    def __init__(self) -> None:
        self.experiment: ExperimentRow | None = None
        self.bars: dict[int, ProgressBar] = {}
        self._results: dict[tuple[str, str, str], MetricRow] = {}
        self._jobs: dict[tuple[int, int], JobRow] = {}
        self._series: dict[tuple[int, str, str], dict[str, Series]] = {}

    def update(self, changed: Changed) -> None:
        self.add(changed.experiment, changed.jobs, changed.metrics)
        if changed.progress is not None:
            self.bars = {int(index): bar for index, bar in changed.progress.items()}

    def add(self, experiment: ExperimentRow | None, jobs: Iterable[JobRow], metrics: Iterable[MetricRow]) -> None:
        self.experiment = experiment or self.experiment
        for job in jobs:
            self._jobs[job.iter, job.index] = job
        for row in metrics:
            self._add_metric(row)

    @property
    def iteration(self) -> int:
        return max((iter for iter, _ in self._jobs), default=1)

    @property
    def has_iterations(self) -> bool:
        return self.iteration > 1

    def jobs(self, iter: int | None = None) -> list[JobRow]:
        """The jobs of iteration `iter`, or of the newest one."""
        wanted = self.iteration if iter is None else iter
        return [job for (each, _), job in sorted(self._jobs.items()) if each == wanted]

    def pipelines(self) -> dict[str, list[JobRow]]:
        """The jobs of the newest iteration by pipeline, in the order in which the pipelines start."""
        grouped: dict[str, list[JobRow]] = {}
        for job in self.jobs():
            grouped.setdefault(job.pipeline, []).append(job)
        return grouped

    def results(self) -> list[MetricRow]:
        """The latest value of each metric without steps, of the newest iteration."""
        return [row for row in self._results.values() if row.iter == self.iteration]

    def bar(self, job: JobRow) -> ProgressBar | None:
        return self.bars.get(job.index) if job.iter == self.iteration and job.state not in ENDED else None

    def series(self, job: JobRow) -> Series | None:
        """The most interesting of a job's series: its loss, or else the first one."""
        known = self._series.get((job.iter, job.pipeline, job.meta_name), {})
        return next(_by_interest(known), None)

    def _add_metric(self, row: MetricRow) -> None:
        if row.step is None:
            self._results[row.pipeline, row.job, row.name] = row
        elif isinstance(row.value, (int, float)):
            known = self._series.setdefault((row.iter, row.pipeline, row.job), {})
            series = known.setdefault(row.name, Series(one_line(row.name)))
            series.add(row.step, float(row.value))


def _by_interest(known: dict[str, Series]) -> Iterator[Series]:
    yield from (series for name, series in known.items() if name == "loss")
    yield from (series for name, series in known.items() if name.endswith("loss"))
    yield from known.values()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
