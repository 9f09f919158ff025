"""What to do next in an experiment: pipelines, job lists, iterations, targets. No I/O, no clock.

    plan = Plan(experiment, history)
    commands = plan.start()
    ...                                     # carry them out, in order
    commands = plan.handle(JobSucceeded(iter=1, index=0, values=["out.jsonl"]))

After `Finish` there is nothing more to do. An event about a job that is not running changes nothing, so that a result
that is told twice is recorded once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.context_infos import ContextInfos, JobInfos, NothingGiven, name_outputs
from sandbox_actors.experiment.events import (
    BeginIteration,
    Begun,
    CancelRequested,
    Command,
    Ending,
    EndIteration,
    Event,
    Finish,
    JobFailed,
    JobSucceeded,
    RecordFailure,
    RecordSuccess,
    StartJob,
    StopJob,
    Success,
)
from sandbox_actors.experiment.job_configs import job_configs
from sandbox_actors.experiment.model import Experiment
from sandbox_actors.experiment.references import LAST, Names, NumberedJob, pipeline_needs
from sandbox_actors.experiment.targets import evaluate_target


class Plan:
    """One run of an experiment. `history`: jobs that are not to be run again; `begun`: those that are not to be begun
    anew.

    Jobs of a pipeline run one after the other, pipelines too unless the experiment is `parallel`. A failed job ends
    its pipeline and those that need it; others go on, and the experiment fails in the end.
    """

    def __init__(self, experiment: Experiment, history: Iterable[Success] = (), begun: Iterable[Begun] = ()) -> None:
        self.experiment = experiment
        self.iterations: list[ContextInfos] = []
        self._names = Names(experiment)
        self._history = {(each.iter, each.index): each.infos for each in history}
        self._begun = {(each.iter, each.index): each for each in begun}
        self._updates: dict[int, dict[str, Any]] = {}
        self._needs = pipeline_needs(experiment)
        self._positions = {pipeline.name: position for position, pipeline in enumerate(experiment.pipelines)}
        self._tracks: list[_Track] = []
        self._running: dict[int, int] = {}
        self._failures: list[str] = []
        self._is_cancelled = False
        self._end: Finish | None = None

    @property
    def jobs(self) -> tuple[NumberedJob, ...]:
        """The jobs of every iteration, by index."""
        return self._names.jobs

    @property
    def iter(self) -> int:
        return len(self.iterations)

    @property
    def context_infos(self) -> ContextInfos:
        """Of the iteration under way."""
        return self.iterations[-1]

    @property
    def is_finished(self) -> bool:
        return self._end is not None

    def start(self) -> list[Command]:
        commands: list[Command] = []
        self._begin_iteration(commands)
        return self._advance(commands)

    def handle(self, event: Event) -> list[Command]:
        commands: list[Command] = []
        if self._end is None:
            if isinstance(event, CancelRequested):
                self._is_cancelled = True
                commands += (StopJob(iter=self.iter, index=index) for index in self._running)
            elif event.iter == self.iter and event.index in self._running:
                self._end_attempt(event, commands)
        return self._advance(commands)

    # --- how an attempt ends -----------------------------------------------------------------------------------

    def _end_attempt(self, event: JobSucceeded | JobFailed, commands: list[Command]) -> None:
        job, attempt = self.jobs[event.index].job, self._running[event.index]
        if isinstance(event, JobSucceeded):
            del self._running[event.index]
            try:
                infos = name_outputs(job.meta_name, job.output, event.values, event.is_tuple)
            except ContextError as error:
                self._fail(event.index, attempt, str(error), commands)
            else:
                self._succeed(event.index, infos)
                commands.append(self._success(event.index, infos))
        elif event.attempt == attempt:
            del self._running[event.index]
            is_final = event.is_final or self._is_cancelled or attempt > job.retries
            if is_final:
                self._fail(event.index, attempt, event.error, commands)
            else:
                commands.append(self._failure(event.index, attempt, event.error, is_final=False))
                self._start(event.index, attempt + 1, commands)

    def _succeed(self, index: int, infos: JobInfos) -> None:
        self.context_infos.record(self.jobs[index].pipeline, infos)
        self._track_of(index).position += 1

    def _fail(self, index: int, attempt: int, error: str, commands: list[Command]) -> None:
        self._note_failure(index, error)
        commands.append(self._failure(index, attempt, error, is_final=True))

    def _note_failure(self, index: int, error: str) -> None:
        each = self.jobs[index]
        self._track_of(index).has_failed = True
        self._failures.append(f"{each.pipeline}.{each.job.meta_name}: {error}")

    def _success(self, index: int, infos: JobInfos) -> RecordSuccess:
        return RecordSuccess(iter=self.iter, index=index, pipeline=self.jobs[index].pipeline, infos=infos)

    def _failure(self, index: int, attempt: int, error: str, is_final: bool) -> RecordFailure:
        return RecordFailure(iter=self.iter, index=index, attempt=attempt, error=error, is_final=is_final)

    # --- what comes next ---------------------------------------------------------------------------------------

    def _advance(self, commands: list[Command]) -> list[Command]:
        while self._end is None:
            if not self._is_cancelled:
                while self._start_what_is_ready(commands):
                    pass
            if self._running:
                break
            if self._is_cancelled:
                self._finish("cancelled", "", commands)
            elif self._failures:
                more = f" (and {len(self._failures) - 1} more)" if len(self._failures) > 1 else ""
                self._finish("failed", self._failures[0] + more, commands)
            else:
                self._end_iteration(commands)
        return commands

    def _start_what_is_ready(self, commands: list[Command]) -> bool:
        """Starts the next job of every pipeline that can go on. True if that may have made others ready."""
        has_moved = False
        for track in self._tracks:
            index = track.next_index
            if index is None or index in self._running or not all(self._tracks[need].is_done for need in track.needs):
                continue
            infos = self._history.get((self.iter, index))
            begun = self._begun.get((self.iter, index))
            if infos is not None:
                self._succeed(index, infos)
                has_moved = True
            elif begun is not None and begun.error:
                self._note_failure(index, begun.error)
            else:
                self._start(index, begun.attempt if begun else 1, commands)
        return has_moved

    def _start(self, index: int, attempt: int, commands: list[Command]) -> None:
        each = self.jobs[index]
        try:
            settings = self._settings(each)
            configs = job_configs(each.job, settings.items())
            is_late = any(config.is_late for config in configs.values())
            values = {name: config.value if is_late else config.finished(self.iter) for name, config in configs.items()}
        except ContextError as error:
            self._fail(index, 0, str(error), commands)
            return
        self._running[index] = attempt
        commands.append(
            StartJob(
                iter=self.iter,
                index=index,
                attempt=attempt,
                pipeline=each.pipeline,
                list=each.list,
                job=each.job,
                **values,
                settings=settings if is_late else {},
            )
        )

    def _settings(self, each: NumberedJob) -> dict[str, Any]:
        """What is put into the job's configs: `local`, then what `iter_updater` brings, then `input`."""
        settings = {**each.job.local, **self._updates.get(each.index, {})}
        for key, name in each.job.input.items():
            try:
                is_carried = self._names.is_carried(name, each.index)
                if not is_carried or self.iter > 1:
                    settings.pop(key, None)
                    settings[key] = self._look_up(name, each.pipeline, is_carried)
            except ContextError as error:
                raise ContextError(f"input {key}: {error}") from None
        return settings

    def _look_up(self, name: str, pipeline: str, is_carried: bool) -> Any:
        if not name.startswith(f"{LAST}."):
            return self.iterations[-2 if is_carried else -1].look_up(name)
        try:
            return self.context_infos.look_up_last(name, pipeline)
        except NothingGiven:
            if self.iter == 1:
                raise
            return self.iterations[-2].look_up_last(name)

    # --- iterations --------------------------------------------------------------------------------------------

    def _begin_iteration(self, commands: list[Command]) -> None:
        self.iterations.append(ContextInfos(self.iter + 1, (pipeline.name for pipeline in self.experiment.pipelines)))
        self._tracks = [_Track(needs) for needs in self._needs]
        for each in self.jobs:
            self._track_of(each.index).indices.append(each.index)
        commands.append(BeginIteration(iter=self.iter))

    def _end_iteration(self, commands: list[Command]) -> None:
        results = [evaluate_target(target, self.context_infos) for target in self.experiment.iter_targets]
        enough = all if self.experiment.iter_targets_mode == "all" else any
        is_reached = bool(results) and enough(result.holds for result in results)
        commands.append(EndIteration(iter=self.iter, targets=results, is_reached=is_reached))
        endless = next((result for result in results if result.problem), None)
        if is_reached or 0 < self.experiment.max_iter_num <= self.iter:
            self._finish("succeeded", "", commands)
        elif self.experiment.max_iter_num == 0 and endless is not None:
            self._finish("failed", f"iter_targets: {endless.target}: {endless.problem}", commands)
        else:
            self._update(commands)

    def _update(self, commands: list[Command]) -> None:
        try:
            values = {name: self.context_infos.look_up(name) for name in self.experiment.iter_updater}
        except ContextError as error:
            self._finish("failed", f"iter_updater: {error}", commands)
            return
        for name, target in self.experiment.iter_updater.items():
            pipeline, meta_name, key = target.split(".", 2)
            for each in self._names.jobs_named(pipeline, meta_name):
                self._updates.setdefault(each.index, {})[key] = values[name]
        self._begin_iteration(commands)

    def _finish(self, state: Ending, error: str, commands: list[Command]) -> None:
        self._end = Finish(state=state, error=error)
        commands.append(self._end)

    def _track_of(self, index: int) -> _Track:
        return self._tracks[self._positions[self.jobs[index].pipeline]]


class _Track:
    """How far a pipeline is in this iteration."""

    def __init__(self, needs: frozenset[int]) -> None:
        self.needs = needs
        self.indices: list[int] = []
        self.position = 0
        self.has_failed = False

    @property
    def next_index(self) -> int | None:
        return None if self.has_failed or self.is_done else self.indices[self.position]

    @property
    def is_done(self) -> bool:
        return self.position == len(self.indices)
