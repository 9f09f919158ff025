"""Iterations: targets, the updater, and references to the previous iteration."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox_actors.experiment.events import Command, EndIteration, Finish, StartJob
from sandbox_actors.experiment.plan import Plan
from tests.sandbox_actors.experiment.planning import job, plan_of, succeed, the_start


def run_with(plan: Plan, *values: Any) -> list[Command]:
    """Start the plan of a one-job experiment whose job returns these values one after the other."""
    commands = plan.start()
    for value in values:
        commands = succeed(plan, 0, value)
    return commands


def test_iterations_end_when_all_targets_hold_or_in_mode_any_when_one_does() -> None:
    targets = ["anonymous.a.x.loss <= 0.5", "anonymous.a.x.score >= 10"]
    reached: dict[str, list[int]] = {}
    for mode in ("all", "any"):
        plan = plan_of(job("a", output=["x"]), max_iter_num=0, iter_targets=targets, iter_targets_mode=mode)
        plan.start()
        reached[mode] = []
        for loss, score in ((0.6, 1), (0.5, 9), (0.4, "10.5")):
            if not plan.is_finished:
                end = next(c for c in succeed(plan, 0, {"loss": loss, "score": score}) if isinstance(c, EndIteration))
                reached[mode].append(sum(result.holds for result in end.targets))
        assert plan.is_finished
    assert reached == {"all": [0, 1, 2], "any": [0, 1]}


def test_targets_are_reported_after_each_iteration_and_the_last_iteration_ends_without_them() -> None:
    plan = plan_of(job("a", output=["x"]), max_iter_num=2, iter_targets=["anonymous.a.x > 5"])
    commands = run_with(plan, 1, 2)
    (end,) = [command for command in commands if isinstance(command, EndIteration)]
    assert (end.iter, end.is_reached, end.targets[0].target, end.targets[0].value) == (2, False, "anonymous.a.x > 5", 2)
    assert commands[-1] == Finish(state="succeeded")


@pytest.mark.parametrize("value", [None, "low", {"a": 1}, True])
def test_a_target_that_is_not_a_number_does_not_hold_and_ends_iterations_that_wait_for_it(value: Any) -> None:
    targets = ["anonymous.a.x >= 0"]
    commands = run_with(plan_of(job("a", output=["x"]), max_iter_num=2, iter_targets=targets), value)
    assert isinstance(commands[-1], StartJob)
    commands = run_with(plan_of(job("a", output=["x"]), max_iter_num=0, iter_targets=targets), value)
    assert isinstance(commands[-1], Finish)
    assert commands[-1].state == "failed"
    assert "is not a number" in commands[-1].error


def test_the_updater_changes_the_next_iteration_and_input_overrides_it() -> None:
    plan = plan_of(
        job("a", output=["x"], extra_configs={"lr": 0, "other": 0}, local={"extra_configs.lr": 1}),
        job("b", input={"extra_configs.lr": "anonymous.a.x"}),
        max_iter_num=3,
        iter_updater={
            "anonymous.a.x": "anonymous.a.extra_configs.lr",
            "anonymous.b.res_0": "anonymous.b.extra_configs.lr",
        },
    )
    seen = [the_start(plan.start()).extra_configs]
    for number in (10, 20):
        assert the_start(succeed(plan, 0, number)).extra_configs == {"lr": number}
        seen.append(the_start(succeed(plan, 1, -1)).extra_configs)
    assert seen == [{"lr": 1, "other": 0}, {"lr": 10, "other": 0}, {"lr": 20, "other": 0}]


def test_an_updater_that_finds_nothing_fails_the_experiment() -> None:
    updater = {"anonymous.a.x.low": "anonymous.a.extra_configs.lr"}
    plan = plan_of(job("a", output=["x"]), max_iter_num=2, iter_updater=updater)
    finish = run_with(plan, {})[-1]
    assert isinstance(finish, Finish)
    assert (finish.state, finish.error[:40]) == ("failed", "iter_updater: anonymous.a.x.low: no 'low")


def test_the_output_of_a_later_job_is_that_of_the_previous_iteration_and_none_in_the_first() -> None:
    plan = plan_of(
        job("a", extra_configs={"model": "start"}, input={"extra_configs.model": "anonymous.b.model"}),
        job("b", output=["model"]),
        max_iter_num=2,
    )
    assert the_start(plan.start()).extra_configs == {"model": "start"}
    succeed(plan, 0, None)
    assert the_start(succeed(plan, 1, "trained")).extra_configs == {"model": "trained"}


def test_minus_one_in_the_first_job_means_the_last_job_of_the_previous_iteration() -> None:
    plan = plan_of(
        job("a", extra_configs={"model": "start"}, input={"extra_configs.model": "-1.model"}),
        job("b", output=["model"]),
        max_iter_num=2,
    )
    plan.start()
    succeed(plan, 0, None)
    assert the_start(succeed(plan, 1, "trained")).extra_configs == {"model": "trained"}
