"""Parallel pipelines: which run at the same time, and which wait for which."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox_actors.experiment.events import CancelRequested, Finish, RecordFailure, StopJob
from sandbox_actors.experiment.model import Pipeline
from sandbox_actors.experiment.plan import Plan
from tests.sandbox_actors.experiment.planning import experiment, fail, job, pipeline, started, succeed, the_start


def in_parallel(*pipelines: Pipeline, **fields: Any) -> Plan:
    return Plan(experiment(*pipelines, parallel=True, **fields))


def test_pipelines_that_do_not_depend_on_each_other_run_at_the_same_time() -> None:
    plan = in_parallel(pipeline(job("a"), job("b"), name="first"), pipeline(job("c"), job("d"), name="second"))
    assert [start.index for start in started(plan.start())] == [0, 2]
    assert [start.index for start in started(succeed(plan, 2, 1))] == [3]
    succeed(plan, 3, 1)
    succeed(plan, 0, 1)
    assert succeed(plan, 1, 1)[-1] == Finish(state="succeeded")
    assert list(plan.context_infos.to_dict()) == ["first", "second"]


@pytest.mark.parametrize(
    "fields",
    [
        {"input": {"extra_configs.a": "first.a.x"}},
        {"input": {"extra_configs.a": "-1.x"}},
        {"extra_configs": {"data": "./out/iter_1/a_stats.jsonl"}},
        {"extra_configs": {"export_path": "out/a.jsonl"}},
    ],
)
def test_a_pipeline_waits_for_those_whose_outputs_or_files_it_uses(fields: dict[str, Any]) -> None:
    give = job("a", output=["x"], extra_configs={"export_path": "./out/a.jsonl"})
    plan = in_parallel(
        pipeline(give, name="first"), pipeline(job("b", **fields), name="second"), pipeline(job("c"), name="third")
    )
    assert [start.index for start in started(plan.start())] == [0, 2]
    assert [start.index for start in started(succeed(plan, 0, 1))] == [1]


def test_minus_one_waits_for_every_pipeline_whose_output_could_be_the_last() -> None:
    plan = in_parallel(
        pipeline(job("a", output=["x"]), name="first"),
        pipeline(job("quiet"), name="second"),
        pipeline(job("b", input={"extra_configs.a": "-1.x"}), name="third"),
    )
    plan.start()
    assert succeed(plan, 0, 1)[1:] == []
    assert the_start(succeed(plan, 1, None)).extra_configs == {"a": 1}


def test_a_failure_ends_its_pipeline_and_those_that_depend_on_it_and_the_others_continue() -> None:
    need = job("c", input={"extra_configs.a": "first.a.x"})
    plan = in_parallel(
        pipeline(job("a", output=["x"]), name="first"),
        pipeline(job("b"), job("bb"), name="second"),
        pipeline(need, name="third"),
    )
    plan.start()
    assert [type(command) for command in fail(plan, 0)] == [RecordFailure]
    succeed(plan, 1, 1)
    assert succeed(plan, 2, 1)[-1] == Finish(state="failed", error="first.a: broke")


def test_an_experiment_that_is_cancelled_after_a_failure_is_cancelled() -> None:
    plan = in_parallel(pipeline(job("a"), name="first"), pipeline(job("b"), name="second"))
    plan.start()
    fail(plan, 0)
    assert plan.handle(CancelRequested()) == [StopJob(iter=1, index=1)]
    assert fail(plan, 1)[-1] == Finish(state="cancelled")


def test_cancelling_stops_every_pipeline() -> None:
    plan = in_parallel(pipeline(job("a"), name="first"), pipeline(job("b"), name="second"))
    plan.start()
    assert plan.handle(CancelRequested()) == [StopJob(iter=1, index=0), StopJob(iter=1, index=1)]
    assert [type(command) for command in fail(plan, 1)] == [RecordFailure]
    assert fail(plan, 0)[-1] == Finish(state="cancelled")
