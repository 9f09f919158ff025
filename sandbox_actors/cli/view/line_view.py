"""A running experiment where there is no terminal: a line for each change."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox_actors.cli.view.snapshot import Snapshot
from sandbox_actors.cli.view.text import clock, duration, first_line, one_line, value, warmth
from sandbox_actors.protocol.rows import ENDED, ExperimentRow, JobRow

PROGRESS_SECONDS = 5.0
"""The shortest time between two reports of a job's progress."""


class LineView:
    """`lines` gives what has changed in a snapshot since the last call."""

    def __init__(self) -> None:
        self._reported_jobs: dict[tuple[int, int], tuple[str, str]] = {}
        self._reported: tuple[str, str] | None = None
        self._last_progress = -PROGRESS_SECONDS

    def lines(self, snapshot: Snapshot, now: float) -> Iterator[str]:
        experiment = snapshot.experiment
        if experiment is None:
            return
        start = experiment.started or experiment.submitted
        if self._reported is None:
            yield f"[0:00] experiment {experiment.id} ({one_line(experiment.name)}): {experiment.jobs_total} jobs"
        for job in snapshot.jobs():
            yield from self._job(job, snapshot, start, experiment.finished or now)
        yield from self._experiment(experiment, start, now)
        if now - self._last_progress >= PROGRESS_SECONDS:
            for line in self._progress(snapshot):
                self._last_progress = now
                yield f"[{clock(now - start)}] {line}"

    def _experiment(self, experiment: ExperimentRow, start: float, now: float) -> Iterator[str]:
        state = (experiment.state, experiment.reason)
        if state != self._reported and (experiment.reason or experiment.finished):
            reason = f": {one_line(experiment.reason)}" if experiment.reason else ""
            elapsed = clock((experiment.finished or now) - start)
            yield f"[{elapsed}] experiment {experiment.id} {experiment.state}{reason}"
        self._reported = state

    def _job(self, job: JobRow, snapshot: Snapshot, start: float, now: float) -> Iterator[str]:
        is_starting = job.state == "running" and job.warm is None
        state = (job.state, job.reason if job.state == "waiting" else "")
        if is_starting or self._reported_jobs.get((job.iter, job.index), ("waiting", "")) == state:
            return
        self._reported_jobs[job.iter, job.index] = state
        iteration = f"iteration {job.iter}, " if snapshot.has_iterations else ""
        moment = now if job.state == "waiting" else job.finished or job.started or now
        yield f"[{clock(moment - start)}] {iteration}{_name(job)} {job.state}{_details(job)}"

    def _progress(self, snapshot: Snapshot) -> Iterator[str]:
        for job in snapshot.jobs():
            bar, series = snapshot.bar(job), snapshot.series(job)
            if job.state in ENDED or not (bar or series or (job.reason and job.state == "running")):
                continue
            parts = [one_line(job.reason)] if job.reason else []
            if bar:
                total = f"/{value(bar.total)}" if bar.total else ""
                parts.append(f"{one_line(bar.label)} {value(bar.done)}{total} {one_line(bar.unit)}".rstrip())
            if series:
                parts.append(f"{series.name} {value(series.last)} at step {series.step}")
            yield f"{_name(job)}: {', '.join(parts)}"


def _name(job: JobRow) -> str:
    return one_line(f"{job.pipeline}.{job.meta_name}")


def _details(job: JobRow) -> str:
    took = f" in {duration(job.seconds)}" if job.seconds is not None else ""
    warm = f" ({warmth(job.warm)})" if job.warm is not None else ""
    why = first_line(job.error) if job.state in ("failed", "cancelled") else job.reason
    return f"{took}{warm}{f': {one_line(why)}' if why else ''}"
