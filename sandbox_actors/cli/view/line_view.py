"""A running experiment where there is no terminal: a line for what has changed, never a line that changes."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox_actors.cli.view.snapshot import Scene
from sandbox_actors.cli.view.text import clock, duration, one_line, value, warmth
from sandbox_actors.protocol.rows import ENDED, ExperimentRow, JobRow

PROGRESS_SECONDS = 5.0
"""The least time between two lines about how far a job is."""


class PlainView:
    """`lines` gives what a scene has brought since the last call."""

    def __init__(self) -> None:
        self._job_told: dict[tuple[int, int], tuple[str, str]] = {}
        self._told: tuple[str, str] | None = None
        self._last_progress = -PROGRESS_SECONDS

    def lines(self, scene: Scene, now: float) -> Iterator[str]:
        experiment = scene.experiment
        if experiment is None:
            return
        start = experiment.started or experiment.submitted
        if self._told is None:
            yield f"[0:00] experiment {experiment.id} ({one_line(experiment.name)}): {experiment.jobs_total} jobs"
        for job in scene.jobs():
            yield from self._job(job, scene, start, experiment.finished or now)
        yield from self._experiment(experiment, start, now)
        if now - self._last_progress >= PROGRESS_SECONDS:
            for line in self._progress(scene):
                self._last_progress = now
                yield f"[{clock(now - start)}] {line}"

    def _experiment(self, experiment: ExperimentRow, start: float, now: float) -> Iterator[str]:
        told = (experiment.state, experiment.reason)
        if told != self._told and (experiment.reason or experiment.finished):
            reason = f": {one_line(experiment.reason)}" if experiment.reason else ""
            elapsed = clock((experiment.finished or now) - start)
            yield f"[{elapsed}] experiment {experiment.id} {experiment.state}{reason}"
        self._told = told

    def _job(self, job: JobRow, scene: Scene, start: float, now: float) -> Iterator[str]:
        is_starting = job.state == "running" and job.warm is None
        told = (job.state, job.reason if job.state == "waiting" else "")
        if is_starting or self._job_told.get((job.iter, job.index), ("waiting", "")) == told:
            return
        self._job_told[job.iter, job.index] = told
        iteration = f"iteration {job.iter}, " if scene.has_iterations else ""
        moment = now if job.state == "waiting" else job.finished or job.started or now
        yield f"[{clock(moment - start)}] {iteration}{_name(job)} {job.state}{_details(job)}"

    def _progress(self, scene: Scene) -> Iterator[str]:
        for job in scene.jobs():
            bar, series = scene.bar(job), scene.series(job)
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
    why = job.error.strip().partition("\n")[0] if job.state in ("failed", "cancelled") else job.reason
    return f"{took}{warm}{f': {one_line(why)}' if why else ''}"
