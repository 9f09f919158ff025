"""Decides what an experiment does next: pipelines, jobs, retries, iterations, targets.

    plan = Plan(experiment, history)
    commands = plan.start()
    ...                                     # carry them out, in order
    commands = plan.handle(JobSucceeded(iter=1, index=0, values=["out.jsonl"]))

THEORY OF OPERATION

A plan is a state machine: `events.py` has the events that go in and the commands that come out. It does no I/O and
has no clock, for three reasons. Every decision can be tested in any order of events, failures and restarts. No state of
a plan is ever saved: to continue an experiment, a new plan replays the recorded history, so that a plan of another
version of this program cannot be restored half understood. And a plan can be tried out: `resume: true` starts one only
to see which iteration a history reaches.

A job, in one iteration (event / commands):

    waiting --- / StartJob ---> running --- JobSucceeded / RecordSuccess ---> succeeded
       |                         |   ^
       |                         |   +--- JobFailed, `retries` left / RecordFailure, StartJob with the next attempt
       |                         |
       |                         +------- JobFailed, no retry / RecordFailure(is_final) ---> failed
       +--- its configs cannot be built / RecordFailure(attempt=0, is_final) -------------> failed

A pipeline runs its jobs one after the other, and starts when the pipelines that it depends on are done (all before it,
unless the experiment is `parallel`). A failed job ends its pipeline; so those that depend on it never start, while the
others continue. An iteration ends when every pipeline is done. Then `iter_targets` and `max_iter_num` decide whether
the experiment is finished; if not, `iter_updater` is applied and the next iteration begins.

Guaranteed, if the commands are carried out in order and every StartJob leads to one event:

- Every attempt that was started is recorded once, and every job that was started has one final record: RecordSuccess,
  or RecordFailure with `is_final`. A job that was not reached has none.
- RecordSuccess comes before every command that the output has an influence on. As it is durable before the next command
  is carried out, a crash loses no output that another job has used.
- An event that does not fit is ignored: about a job that is not running, of another iteration, or the failure of
  another attempt. A result that is delivered twice is recorded once. (JobSucceeded has no attempt, because the attempts
  of a job never overlap.)
- Outputs that do not fit the names in `output` are a final failure: another attempt would return as many.
- Finish comes last and once, when nothing is running any more. Its error is that of the job that failed first.

Cancelling: every running job gets a StopJob, and nothing is started any more. A job that waits for its next attempt is
stopped too: it counts as running, because the pause is part of carrying out StartJob. The failure of a stopped job is
final, whatever its `retries`; if it succeeds nevertheless, that is recorded. The experiment ends as cancelled, also if
a job has failed before.

Replaying: a job in `history` is passed over where it would have started. Its outputs are put into `context_infos`,
without StartJob or RecordSuccess; BeginIteration and EndIteration are issued again, since targets and updates are
calculated again from the same outputs. `attempts` are given if the daemon was killed and the experiment continues by
itself. An attempt without an error is started under its old number, so that the job runner can find it still running
in its worker and join it, and `retries` are counted from there. With an error, the job has failed already, which needs
no command. `sandbox resume` passes none: what has not succeeded starts from its first attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.context_infos import ContextInfos, JobInfos, NoOutputYet, name_outputs
from sandbox_actors.experiment.dependencies import find_dependencies
from sandbox_actors.experiment.events import (
    BeginIteration,
    CancelRequested,
    Command,
    Ending,
    EndIteration,
    Event,
    Finish,
    JobFailed,
    JobSucceeded,
    PastAttempt,
    PastSuccess,
    RecordFailure,
    RecordSuccess,
    StartJob,
    StopJob,
)
from sandbox_actors.experiment.job_configs import job_configs, split_updater_target
from sandbox_actors.experiment.model import Experiment, NumberedJob
from sandbox_actors.experiment.output_name import parse_output_name
from sandbox_actors.experiment.references import References
from sandbox_actors.experiment.targets import evaluate_target


class Plan:
    """One run of an experiment. `history`: jobs that are not run again. `attempts`: where the others have got to."""

    def __init__(
        self, experiment: Experiment, history: Iterable[PastSuccess] = (), attempts: Iterable[PastAttempt] = ()
    ) -> None:
        self.experiment = experiment
        self.iterations: list[ContextInfos] = []
        self._references = References(experiment)
        self._history = {(each.iter, each.index): each.infos for each in history}
        self._attempts = {(each.iter, each.index): each for each in attempts}
        self._dependencies = find_dependencies(experiment)
        self._positions = {pipeline.name: position for position, pipeline in enumerate(experiment.pipelines)}
        self._tracks: list[_Track] = []
        self._running: dict[int, int] = {}
        """The attempt of each running job, by index."""
        self._updates: dict[int, dict[str, Any]] = {}
        """What `iter_updater` has set so far in the configs of each job, by index."""
        self._failures: list[str] = []
        self._is_cancelled = False
        self._end: Finish | None = None
        self._commands: list[Command] = []

    @property
    def jobs(self) -> tuple[NumberedJob, ...]:
        """The jobs of every iteration, by index."""
        return self._references.jobs

    @property
    def iter(self) -> int:
        return len(self.iterations)

    @property
    def context_infos(self) -> ContextInfos:
        """Of the current iteration."""
        return self.iterations[-1]

    @property
    def is_finished(self) -> bool:
        return self._end is not None

    def start(self) -> list[Command]:
        self._begin_iteration()
        return self._advance()

    def handle(self, event: Event) -> list[Command]:
        if self._end is None:
            if isinstance(event, CancelRequested):
                self._is_cancelled = True
                self._commands += (StopJob(iter=self.iter, index=index) for index in self._running)
            elif event.iter == self.iter and event.index in self._running:
                self._end_attempt(event)
        return self._advance()

    # --- how an attempt ends -----------------------------------------------------------------------------------

    def _end_attempt(self, event: JobSucceeded | JobFailed) -> None:
        job, attempt = self.jobs[event.index].job, self._running[event.index]
        if isinstance(event, JobSucceeded):
            del self._running[event.index]
            try:
                infos = name_outputs(job.meta_name, job.output, event.values, event.is_tuple)
            except ContextError as error:
                self._record_failure(event.index, attempt, str(error))
            else:
                self._succeed(event.index, infos)
                pipeline = self.jobs[event.index].pipeline
                self._commands.append(RecordSuccess(iter=self.iter, index=event.index, pipeline=pipeline, infos=infos))
        elif event.attempt == attempt:
            del self._running[event.index]
            is_final = event.is_final or self._is_cancelled or attempt > job.retries
            self._record_failure(event.index, attempt, event.error, is_final)
            if not is_final:
                self._start(event.index, attempt + 1)

    def _succeed(self, index: int, infos: JobInfos) -> None:
        self.context_infos.record(self.jobs[index].pipeline, infos)
        self._track_of(index).position += 1

    def _record_failure(self, index: int, attempt: int, error: str, is_final: bool = True) -> None:
        if is_final:
            self._end_track(index, error)
        failure = RecordFailure(iter=self.iter, index=index, attempt=attempt, error=error, is_final=is_final)
        self._commands.append(failure)

    def _end_track(self, index: int, error: str) -> None:
        each = self.jobs[index]
        self._track_of(index).has_failed = True
        self._failures.append(f"{each.pipeline}.{each.job.meta_name}: {error}")

    # --- what comes next ---------------------------------------------------------------------------------------

    def _advance(self) -> list[Command]:
        """Go as far as possible without another event. Returns the commands since the last one."""
        while self._end is None:
            while not self._is_cancelled and self._start_ready_jobs():
                pass
            if self._running:
                break
            if self._is_cancelled:
                self._finish("cancelled")
            elif self._failures:
                more = f" (and {len(self._failures) - 1} more)" if len(self._failures) > 1 else ""
                self._finish("failed", self._failures[0] + more)
            else:
                self._end_iteration()
        commands, self._commands = self._commands, []
        return commands

    def _start_ready_jobs(self) -> bool:
        """Start the next job of every pipeline that can continue. True if one was passed over: others may be ready."""
        has_passed = False
        for track in self._tracks:
            index = track.next_index
            if index is None or index in self._running or not all(self._tracks[each].is_done for each in track.needs):
                continue
            infos, past = self._history.get((self.iter, index)), self._attempts.get((self.iter, index))
            if infos is not None:
                self._succeed(index, infos)
                has_passed = True
            elif past is not None and past.error:
                self._end_track(index, past.error)
            else:
                self._start(index, past.attempt if past else 1)
        return has_passed

    def _start(self, index: int, attempt: int) -> None:
        each = self.jobs[index]
        try:
            settings = self._settings(each)
            configs = job_configs(each.job, settings.items())
            has_files = any(config.is_path for config in configs.values())
            values = {name: config.value if has_files else config.build(self.iter) for name, config in configs.items()}
        except ContextError as error:
            self._record_failure(index, 0, str(error))
            return
        self._running[index] = attempt
        self._commands.append(
            StartJob(
                iter=self.iter,
                index=index,
                attempt=attempt,
                pipeline=each.pipeline,
                list=each.list,
                job=each.job,
                **values,
                settings=settings if has_files else {},
            )
        )

    def _settings(self, each: NumberedJob) -> dict[str, Any]:
        """What is set in the job's configs, in this order: `local`, the updates by `iter_updater`, `input`."""
        settings = {**each.job.local, **self._updates.get(each.index, {})}
        for key, name in each.job.input.items():
            try:
                is_previous = self._references.is_previous_iteration(name, each.index)
                if not is_previous or self.iter > 1:
                    settings.pop(key, None)  # so that it comes last: it may replace what `local` sets inside of it
                    settings[key] = self._look_up(name, each.pipeline, is_previous)
            except ContextError as error:
                raise ContextError(f"input {key}: {error}") from None
        return settings

    def _look_up(self, name: str, pipeline: str, is_previous: bool) -> Any:
        if not parse_output_name(name).is_last:
            return self.iterations[-2 if is_previous else -1].look_up(name)
        try:
            return self.context_infos.look_up_last(name, pipeline)
        except NoOutputYet:  # also where an earlier job could have had an output, and had none
            if self.iter == 1:
                raise
            return self.iterations[-2].look_up_last(name)

    # --- iterations --------------------------------------------------------------------------------------------

    def _begin_iteration(self) -> None:
        self.iterations.append(ContextInfos(self.iter + 1, (pipeline.name for pipeline in self.experiment.pipelines)))
        self._tracks = [_Track(needs) for needs in self._dependencies]
        for each in self.jobs:
            self._track_of(each.index).indices.append(each.index)
        self._commands.append(BeginIteration(iter=self.iter))

    def _end_iteration(self) -> None:
        experiment = self.experiment
        results = [evaluate_target(target, self.context_infos) for target in experiment.iter_targets]
        enough = all if experiment.iter_targets_mode == "all" else any
        is_reached = bool(results) and enough(result.holds for result in results)
        self._commands.append(EndIteration(iter=self.iter, targets=results, is_reached=is_reached))
        wrong = next((result for result in results if result.problem), None)
        if is_reached or 0 < experiment.max_iter_num <= self.iter:
            self._finish("succeeded")
        elif experiment.max_iter_num == 0 and wrong is not None:  # it would never be reached
            self._finish("failed", f"iter_targets: {wrong.target}: {wrong.problem}")
        else:
            self._update_configs()

    def _update_configs(self) -> None:
        updater = self.experiment.iter_updater
        try:
            values = {name: self.context_infos.look_up(name) for name in updater}
        except ContextError as error:
            self._finish("failed", f"iter_updater: {error}")
            return
        for name, target in updater.items():
            pipeline, meta_name, key = split_updater_target(target)
            for each in self._references.find_jobs(pipeline, meta_name):
                self._updates.setdefault(each.index, {})[key] = values[name]
        self._begin_iteration()

    def _finish(self, state: Ending, error: str = "") -> None:
        self._end = Finish(state=state, error=error)
        self._commands.append(self._end)

    def _track_of(self, index: int) -> _Track:
        return self._tracks[self._positions[self.jobs[index].pipeline]]


class _Track:
    """How far a pipeline is in this iteration. `needs`: the positions of the pipelines that have to be done first."""

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
