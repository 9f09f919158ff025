"""The plan against a plain sequential reference: random experiments, failures, restarts and orders of events."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_actors.experiment.events import (
    CancelRequested,
    Command,
    EndIteration,
    Finish,
    JobFailed,
    JobSucceeded,
    PastSuccess,
    RecordSuccess,
    StartJob,
    StopJob,
)
from sandbox_actors.experiment.model import JOB_LISTS, Experiment, Job, JobKey, JobList, Pipeline, freeze, thaw
from sandbox_actors.experiment.plan import Plan

VALUES = [0, "", None, {}, [], [7], [1, 2], {"a": {"b": 0}}, False, 0.0, -2.5, "text"]


@dataclass
class World:
    """What the jobs of an experiment do: the value of each output, and how many attempts fail before one succeeds."""

    experiment: Experiment
    values: dict[str, Any]
    failures: dict[JobKey, int]

    def returned(self, job: Job, place: JobKey) -> tuple[list[Any], bool]:
        """What the job returns in this iteration, and whether it is a tuple."""
        iteration, index = place
        if job.output is None:
            return [self.values.get(f"{index}", None)], False
        values = [self._value(f"{index}.{name}", iteration) for name in job.output]
        return values, len(values) != 1

    def _value(self, name: str, iteration: int) -> Any:
        """The loss is different in each iteration."""
        return iteration if name.endswith(".loss") else self.values[name]


@dataclass
class Ran:
    """What happened: starts with the configs they came with, what was recorded, and how it ended."""

    starts: list[tuple[JobKey, int, Any]] = field(default_factory=list)
    recorded: list[tuple[JobKey, dict[str, Any]]] = field(default_factory=list)
    contexts: list[dict[str, list[dict[str, Any]]]] = field(default_factory=list)
    state: str = ""


# --- random experiments ---


@st.composite
def worlds(draw: st.DrawFn, parallel: bool = False, may_fail: bool = True) -> World:
    max_iter_num = draw(st.integers(1, 3))
    names: list[tuple[str, str, list[str] | None]] = []
    pipelines = []
    for number in range(draw(st.integers(1, 3))):
        lists: dict[JobList, list[Job]] = {list_name: [] for list_name in JOB_LISTS}
        for list_name in sorted(draw(st.lists(st.sampled_from(JOB_LISTS), max_size=4)), key=JOB_LISTS.index):
            lists[list_name].append(draw(_jobs(f"p{number}", names, max_iter_num > 1)))
        pipelines.append(Pipeline(name=f"p{number}", **lists))
    targets = [f"{p}.{m}.loss >= 2" for p, m, outputs in names if outputs and "loss" in outputs]
    experiment = Experiment(
        project_name="p",
        experiment_name="e",
        work_dir="w",
        max_iter_num=max_iter_num,
        iter_targets=targets[:1],
        iter_updater=_updater(draw, names) if max_iter_num > 1 else {},
        parallel=parallel,
        pipelines=pipelines,
    )
    outputs = [f"{index}.{name}" for index, (_, _, given) in enumerate(names) for name in given or ()]
    silent = [f"{index}" for index, (_, _, given) in enumerate(names) if given is None]
    shift = draw(st.integers(0, len(VALUES) - 1))
    values = {name: VALUES[(position + shift) % len(VALUES)] for position, name in enumerate(outputs + silent)}
    places = st.tuples(st.integers(1, max_iter_num), st.integers(0, max(len(names) - 1, 0)))
    failures = draw(st.dictionaries(places, st.integers(1, 2), max_size=3)) if may_fail else {}
    return World(experiment, values, failures)


@st.composite
def _jobs(draw: st.DrawFn, pipeline: str, names: list[tuple[str, str, list[str] | None]], has_iterations: bool) -> Job:
    """A job that refers only to outputs that certainly exist, and may have the name of others in its pipeline."""
    sure = [(p, m, name) for p, m, given in names for name in given or ()]
    wishes = [f"{p}.{m}.{name}" for p, m, name in sure]
    if names and names[-1][2]:
        wishes += [f"-1.{name}" for name in names[-1][2]]
    meta_name = draw(st.sampled_from([f"j{len(names)}", "shared"]))
    output = draw(st.sampled_from([None, ["x"], ["loss"], ["x", "loss"], [f"only{len(names)}"]]))
    if has_iterations and output:
        wishes.append(f"{pipeline}.{meta_name}.{output[0]}")
    inputs = draw(st.lists(st.sampled_from(wishes), max_size=2)) if wishes else []
    names.append((pipeline, meta_name, output))
    return Job(
        hook="GeneralDataExecutorHook",
        meta_name=meta_name,
        extra_configs={"own": 1, "in0": "start", "export_path": "out/a.jsonl"},
        local=draw(st.sampled_from([{}, {"extra_configs.own": 2}, {"extra_configs.deep.own": []}])),
        input={f"extra_configs.in{number}": name for number, name in enumerate(inputs)},
        output=output,
        retries=draw(st.integers(0, 2)),
    )


def _updater(draw: st.DrawFn, names: list[tuple[str, str, list[str] | None]]) -> dict[str, str]:
    sources = [f"{p}.{m}.{name}" for p, m, given in names for name in given or ()]
    if not sources:
        return {}
    pipeline, meta_name, _ = draw(st.sampled_from(names))
    return {draw(st.sampled_from(sources)): f"{pipeline}.{meta_name}.extra_configs.own"}


# --- the reference: one job after the other ---


def run_in_sequence(world: World) -> Ran:
    ran, updates = Ran(), {}
    for iteration in range(1, world.experiment.max_iter_num + 1):
        done: list[tuple[str, dict[str, Any]]] = []
        ran.contexts.append({})
        for index, (pipeline, job) in enumerate(_in_order(world.experiment)):
            place = iteration, index
            config = _reference_config(job, pipeline, iteration, done, ran, updates)
            wasted = world.failures.get(place, 0)
            for attempt in range(1, min(wasted, job.retries) + 2):
                ran.starts.append((place, attempt, config))
            if wasted > job.retries:
                ran.state = "failed"
                return ran
            infos = _reference_infos(world, job, place)
            done.append((pipeline, infos))
            ran.recorded.append((place, infos))
            ran.contexts[-1].setdefault(pipeline, []).append(infos)
        targets = [target.split(" ")[0] for target in world.experiment.iter_targets]
        if targets and all(_newest(name, done) >= 2 for name in targets):
            break
        updates = {target: _newest(name, done) for name, target in world.experiment.iter_updater.items()}
    ran.state = "succeeded"
    return ran


def _in_order(experiment: Experiment) -> Iterator[tuple[str, Job]]:
    for pipeline in experiment.pipelines:
        for list_name in JOB_LISTS:
            for job in getattr(pipeline, list_name):
                yield pipeline.name, job


def _reference_infos(world: World, job: Job, place: JobKey) -> dict[str, Any]:
    values, is_tuple = world.returned(job, place)
    if not is_tuple and isinstance(values[0], list) and len(values[0]) == 1:
        values = values[0]
    elif job.output is None and values[0] is None:
        values = []
    names = job.output or [f"res_{number}" for number in range(len(values))]
    return {"meta_name": job.meta_name, **dict(zip(names, values, strict=True))}


def _reference_config(
    job: Job,
    pipeline: str,
    iteration: int,
    done: list[tuple[str, dict[str, Any]]],
    ran: Ran,
    updates: dict[str, Any],
) -> dict[str, Any]:
    config: dict[str, Any] = {"own": 1, "in0": "start", "export_path": f"out/iter_{iteration}/a.jsonl"}
    for key, value in job.local.items():
        config.update({"own": value} if key == "extra_configs.own" else {"deep": {"own": value}})
    if f"{pipeline}.{job.meta_name}.extra_configs.own" in updates:
        config["own"] = updates[f"{pipeline}.{job.meta_name}.extra_configs.own"]
    for key, name in job.input.items():
        before = [(p, infos) for p, jobs in (ran.contexts[-2] if iteration > 1 else {}).items() for infos in jobs]
        if name.startswith("-1."):
            config[key.split(".")[1]] = done[-1][1][name[3:]]
        elif _has(name, done):
            config[key.split(".")[1]] = _newest(name, done)
        elif before:
            config[key.split(".")[1]] = _newest(name, before)
    return config


def _has(name: str, done: list[tuple[str, dict[str, Any]]]) -> bool:
    pipeline, meta_name, output = name.split(".")
    return any(p == pipeline and infos["meta_name"] == meta_name and output in infos for p, infos in done)


def _newest(name: str, done: list[tuple[str, dict[str, Any]]]) -> Any:
    pipeline, meta_name, output = name.split(".")
    return [i for p, i in done if p == pipeline and i["meta_name"] == meta_name and output in i][-1][output]


# --- the plan, driven by events ---


class Driver:
    """Carries out what a plan says. `chance` decides which event comes next, and when the daemon dies."""

    def __init__(self, world: World, chance: random.Random, death: float = 0.0) -> None:
        self._world, self._chance, self._death = world, chance, death
        self.ran = Ran()
        self.deaths = 0

    def run(self) -> Ran:
        plan = self._restarted()
        events = self._carry_out(plan, plan.start(), [])
        while not self.ran.state:
            if self._chance.random() < self._death and self.deaths < 5:
                self.deaths += 1
                plan = self._restarted()
                events = self._carry_out(plan, plan.start(), [])
                continue
            event = events.pop(self._chance.randrange(len(events)))
            events = self._carry_out(plan, plan.handle(event), events)
            assert self._carry_out(plan, plan.handle(event), events) == events, (
                "an event that is delivered twice does nothing"
            )
        self.ran.contexts = [context.to_dict() for context in plan.iterations]
        return self.ran

    def cancel_after(self, steps: int) -> Ran:
        plan = self._restarted()
        events = self._carry_out(plan, plan.start(), [])
        while steps and events and not self.ran.state:
            steps -= 1
            events = self._carry_out(plan, plan.handle(events.pop(0)), events)
        events = self._carry_out(plan, plan.handle(CancelRequested()), events)
        while not self.ran.state:
            starts = len(self.ran.starts)
            events = self._carry_out(plan, plan.handle(events.pop(0)), events)
            assert len(self.ran.starts) == starts, "nothing is started after a cancel"
        self.ran.contexts = [context.to_dict() for context in plan.iterations]
        return self.ran

    def _restarted(self) -> Plan:
        history = [PastSuccess(iter=i, index=index, infos=infos) for (i, index), infos in self.ran.recorded]
        return Plan(thaw(freeze(self._world.experiment)), history)

    def _carry_out(self, plan: Plan, commands: list[Command], events: list[Any]) -> list[Any]:
        events = list(events)
        for command in commands:
            if isinstance(command, StartJob):
                place = command.iter, command.index
                self.ran.starts.append((place, command.attempt, command.extra_configs))
                events.append(self._outcome(command, place))
            elif isinstance(command, RecordSuccess):
                self.ran.recorded.append(((command.iter, command.index), command.infos))
            elif isinstance(command, Finish):
                assert plan.is_finished
                self.ran.state = command.state
            elif isinstance(command, StopJob):
                assert any(event.index == command.index for event in events)
            elif isinstance(command, EndIteration):
                assert all(not result.problem for result in command.targets)
        return events

    def _outcome(self, start: StartJob, place: JobKey) -> JobSucceeded | JobFailed:
        if start.attempt <= self._world.failures.get(place, 0):
            return JobFailed(iter=start.iter, index=start.index, attempt=start.attempt, error="broke")
        values, is_tuple = self._world.returned(start.job, place)
        return JobSucceeded(iter=start.iter, index=start.index, values=values, is_tuple=is_tuple)


@settings(max_examples=60)
@given(worlds(), st.randoms(use_true_random=False))
def test_starts_records_and_the_end_are_those_of_a_plain_sequence(world: World, chance: random.Random) -> None:
    expected, ran = run_in_sequence(world), Driver(world, chance).run()
    assert ran.starts == expected.starts
    assert ran.recorded == expected.recorded
    assert ran.contexts == expected.contexts
    assert ran.state == expected.state


@settings(max_examples=60)
@given(worlds(), st.randoms(use_true_random=False))
def test_a_run_that_dies_and_is_resumed_records_each_job_once_and_ends_the_same_way(
    world: World, chance: random.Random
) -> None:
    expected, ran = run_in_sequence(world), Driver(world, chance, death=0.3).run()
    assert ran.recorded == expected.recorded
    assert ran.contexts == expected.contexts
    assert ran.state == expected.state
    recorded = {place for place, _ in expected.recorded}
    last_of = {place: config for place, _, config in ran.starts}
    assert {place: last_of[place] for place in recorded} == {
        place: config for place, _, config in expected.starts if place in recorded
    }


@settings(max_examples=60)
@given(worlds(parallel=True, may_fail=False), st.randoms(use_true_random=False), st.sampled_from([0.0, 0.3]))
def test_parallel_pipelines_have_the_same_outputs_as_in_sequence(
    world: World, chance: random.Random, death: float
) -> None:
    expected, ran = run_in_sequence(world), Driver(world, chance, death).run()
    assert sorted(ran.recorded, key=lambda entry: entry[0]) == expected.recorded
    assert ran.contexts == expected.contexts
    assert ran.state == "succeeded"


@settings(max_examples=60)
@given(worlds(parallel=True), st.randoms(use_true_random=False))
def test_parallel_pipelines_finish_unless_they_depend_on_a_failed_one(world: World, chance: random.Random) -> None:
    expected, ran = run_in_sequence(world), Driver(world, chance).run()
    assert ran.state == expected.state
    places = [place for place, _ in ran.recorded]
    assert set(places) >= {place for place, _ in expected.recorded}
    assert len(set(places)) == len(places)


@settings(max_examples=60)
@given(worlds(), st.integers(0, 8))
def test_a_cancelled_run_has_recorded_a_prefix_of_the_sequence(world: World, steps: int) -> None:
    expected = run_in_sequence(world)
    ran = Driver(world, random.Random(0)).cancel_after(steps)
    assert ran.recorded == expected.recorded[: len(ran.recorded)]
    assert ran.state in ("cancelled", expected.state)
