"""The plan of one iteration: which job comes next, with which configs, and what ends after a failure."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox_actors.errors import ConfigError, ContextError
from sandbox_actors.experiment.events import (
    BeginIteration,
    CancelRequested,
    EndIteration,
    Finish,
    JobSucceeded,
    PastAttempt,
    PastSuccess,
    RecordFailure,
    RecordSuccess,
    StartJob,
    StopJob,
)
from sandbox_actors.experiment.model import Pipeline
from sandbox_actors.experiment.plan import Plan
from tests.sandbox_actors.experiment.planning import experiment, fail, job, pipeline, plan_of, succeed, the_start

# --- order ---


def test_job_lists_run_in_their_order_and_pipelines_one_after_the_other() -> None:
    first = Pipeline(
        name="first",
        evaluation_jobs=[job("d")],
        execution_jobs=[job("c")],
        refine_recipe_jobs=[job("b")],
        probe_jobs=[job("a")],
    )
    plan = Plan(experiment(first, pipeline(job("e"), name="second")))
    commands, seen = plan.start(), []
    while not plan.is_finished:
        start = the_start(commands)
        seen.append((start.index, start.pipeline, start.list, start.job.meta_name))
        commands = succeed(plan, start.index, None)
    assert seen == [
        (0, "first", "probe_jobs", "a"),
        (1, "first", "refine_recipe_jobs", "b"),
        (2, "first", "execution_jobs", "c"),
        (3, "first", "evaluation_jobs", "d"),
        (4, "second", "execution_jobs", "e"),
    ]
    assert commands[-2:] == [EndIteration(iter=1, targets=[], is_reached=False), Finish(state="succeeded")]


def test_a_pipeline_without_jobs_does_not_change_the_order_of_the_others() -> None:
    plan = Plan(experiment(pipeline(job("a"), name="first"), pipeline(name="second"), pipeline(job("b"), name="third")))
    assert the_start(plan.start()).index == 0


def test_a_success_is_recorded_before_the_next_job_starts() -> None:
    plan = plan_of(job("a", output=["x"]), job("b"))
    assert [type(command) for command in plan.start()] == [BeginIteration, StartJob]
    record, start = succeed(plan, 0, 3)
    assert record == RecordSuccess(iter=1, index=0, pipeline="anonymous", infos={"meta_name": "a", "x": 3})
    assert isinstance(start, StartJob)


def test_a_result_that_is_delivered_twice_or_of_a_job_that_is_not_running_changes_nothing() -> None:
    plan = plan_of(job("a"), job("b"))
    plan.start()
    succeed(plan, 0, 1)
    assert succeed(plan, 0, 2) == []
    assert fail(plan, 0) == []
    assert fail(plan, 1, attempt=7) == []
    assert plan.handle(JobSucceeded(iter=9, index=1, values=[1])) == []
    assert plan.context_infos.to_dict() == {"anonymous": [{"meta_name": "a", "res_0": 1}]}


def test_an_experiment_without_jobs_succeeds_at_once() -> None:
    assert Plan(experiment(pipeline(), pipeline(name="b"))).start()[-1] == Finish(state="succeeded")


# --- configs ---


def test_local_and_then_input_are_set_in_the_configs() -> None:
    plan = plan_of(
        job("a", output=["x", "y"]),
        job(
            "b",
            dj_configs={"process": [{"filter": {"min": 1}}], "np": 4},
            extra_configs={"lr": 1, "data": "<replaced>"},
            local={"extra_configs.lr": 2, "extra_configs.new.key": [], "extra_configs.data": "local"},
            input={
                "dj_configs.process.0.filter.min": "anonymous.a.y.low",
                "extra_configs.data": "-1.x",
                "extra_configs.none": "anonymous.a.y.none",
            },
        ),
    )
    plan.start()
    start = the_start(succeed(plan, 0, "path", {"low": 0, "none": None}))
    assert start.dj_configs == {"process": [{"filter": {"min": 0}}], "np": 4}
    assert start.extra_configs == {"lr": 2, "data": "path", "new": {"key": []}, "none": None}
    assert plan.jobs[1].job.dj_configs == {"process": [{"filter": {"min": 1}}], "np": 4}


def test_input_comes_last_even_if_local_sets_the_same_key() -> None:
    plan = plan_of(
        job("a", output=["x"]),
        job(
            "b",
            local={"extra_configs.a": {}, "extra_configs.a.b": 1},
            input={"extra_configs.a": "anonymous.a.x"},
        ),
    )
    plan.start()
    assert the_start(succeed(plan, 0, {"c": 2})).extra_configs == {"a": {"c": 2}}


def test_a_whole_config_can_be_an_output_a_mapping_or_the_path_of_one() -> None:
    plan = plan_of(
        job("a", output=["recipe", "path"]),
        job(
            "b",
            dj_configs="<replaced>",
            extra_configs="<replaced>",
            local={"dj_configs.np": 2, "extra_configs.export_path": "out/x.jsonl"},
            input={"dj_configs": "anonymous.a.path", "extra_configs": "anonymous.a.recipe"},
        ),
    )
    plan.start()
    start = the_start(succeed(plan, 0, {"lr": 1}, "made.yaml"))
    assert start.dj_configs == "made.yaml"
    built = start.with_files_read({"made.yaml": {"export_path": "out/y.jsonl", "np": 1}}.__getitem__)
    assert built.dj_configs == {"export_path": "out/iter_1/y.jsonl", "np": 2}
    assert built.extra_configs == {"lr": 1, "export_path": "out/iter_1/x.jsonl"}
    assert built.with_files_read(dict) is built


def test_a_config_file_that_cannot_be_read_or_does_not_fit_raises_where_it_is_read() -> None:
    start = the_start(plan_of(job("a", dj_configs="late.yaml", local={"dj_configs.a.b": 1})).start())

    def unreadable(path: str) -> dict[str, Any]:
        raise ConfigError([])

    with pytest.raises(ConfigError):
        start.with_files_read(unreadable)
    with pytest.raises(ContextError, match=r"dj_configs\.a\.b: 'b' cannot be set in 3"):
        start.with_files_read(lambda path: {"a": 3})


def test_export_paths_get_the_folder_of_the_iteration_except_in_a_recipe_that_is_rewritten() -> None:
    configs: dict[str, Any] = {
        "dj_configs": {"export_path": "out/a.jsonl"},
        "extra_configs": {"export_path": ["b", "c.jsonl"]},
    }
    plan = plan_of(job("a", **configs), job("b", hook="RefineRecipeViaKSigmaHook", **configs), max_iter_num=2)
    first, second = the_start(plan.start()), the_start(succeed(plan, 0, None))
    assert first.dj_configs == {"export_path": "out/iter_1/a.jsonl"}
    assert first.extra_configs == {"export_path": ["b/iter_1", "iter_1/c.jsonl"]}
    assert second.dj_configs == {"export_path": "out/a.jsonl"}
    assert second.extra_configs == {"export_path": ["b/iter_1", "iter_1/c.jsonl"]}
    assert the_start(succeed(plan, 1, None)).dj_configs == {"export_path": "out/iter_2/a.jsonl"}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"input": {"extra_configs.a": "anonymous.a.x.loss"}}, "anonymous.a.x.loss: no 'loss' there, only 'score'"),
        ({"input": {"extra_configs": "anonymous.a.x.score"}}, "extra_configs is 1; it must be a mapping"),
        ({"extra_configs": "<replaced>"}, "is still the placeholder <replaced>"),
        ({"extra_configs": {"a": 1}, "local": {"extra_configs.a.b": 1}}, "extra_configs.a.b: 'b' cannot be set in 1"),
        ({"local": {"configs.a": 1}}, "configs.a: must start with dj_configs or extra_configs"),
    ],
)
def test_a_job_whose_configs_cannot_be_built_fails_without_being_started(fields: dict[str, Any], error: str) -> None:
    plan = plan_of(job("a", output=["x"]), job("b", **fields))
    plan.start()
    record, failure, finish = succeed(plan, 0, {"score": 1})
    assert isinstance(record, RecordSuccess)
    assert isinstance(failure, RecordFailure)
    assert (failure.index, failure.attempt, failure.is_final) == (1, 0, True)
    assert error in failure.error
    assert finish == Finish(state="failed", error=f"anonymous.b: {failure.error}")


def test_outputs_that_do_not_fit_their_names_are_a_final_failure() -> None:
    plan = plan_of(job("a", output=["x", "y"], retries=3), job("b"))
    plan.start()
    failure, finish = succeed(plan, 0, 1)
    assert isinstance(failure, RecordFailure)
    assert failure.is_final
    assert "returned 1 output, but `output` names 2: x, y" in failure.error
    assert isinstance(finish, Finish)


# --- failures ---


def test_a_failed_job_is_tried_again_as_often_as_its_retries_say() -> None:
    plan = plan_of(job("a", retries=2))
    plan.start()
    for attempt in (1, 2):
        failure, start = fail(plan, 0, attempt)
        assert failure == RecordFailure(iter=1, index=0, attempt=attempt, error="broke", is_final=False)
        assert isinstance(start, StartJob)
        assert start.attempt == attempt + 1
    assert fail(plan, 0, 3) == [
        RecordFailure(iter=1, index=0, attempt=3, error="broke", is_final=True),
        Finish(state="failed", error="anonymous.a: broke"),
    ]


def test_a_failure_that_another_attempt_would_repeat_is_final() -> None:
    plan = plan_of(job("a", retries=2))
    plan.start()
    assert fail(plan, 0, is_final=True)[-1] == Finish(state="failed", error="anonymous.a: broke")


def test_nothing_runs_after_a_failure_and_earlier_outputs_stay() -> None:
    plan = Plan(experiment(pipeline(job("a"), job("b"), name="first"), pipeline(job("c"), name="second")))
    plan.start()
    succeed(plan, 0, 1)
    assert [type(command) for command in fail(plan, 1)] == [RecordFailure, Finish]
    assert plan.context_infos.to_dict() == {"first": [{"meta_name": "a", "res_0": 1}]}
    assert succeed(plan, 2, 1) == []


# --- cancelling ---


def test_cancelling_stops_the_running_job_and_finishes_when_it_has_ended() -> None:
    plan = plan_of(job("a", retries=5), job("b"))
    plan.start()
    assert plan.handle(CancelRequested()) == [StopJob(iter=1, index=0)]
    assert fail(plan, 0) == [
        RecordFailure(iter=1, index=0, attempt=1, error="broke", is_final=True),
        Finish(state="cancelled"),
    ]
    assert plan.handle(CancelRequested()) == []


def test_cancelling_stops_a_job_that_waits_for_its_next_attempt() -> None:
    plan = plan_of(job("a", retries=5))
    plan.start()
    fail(plan, 0)
    assert plan.handle(CancelRequested()) == [StopJob(iter=1, index=0)]
    assert fail(plan, 0, attempt=2) == [
        RecordFailure(iter=1, index=0, attempt=2, error="broke", is_final=True),
        Finish(state="cancelled"),
    ]


def test_a_job_that_succeeds_while_it_is_cancelled_is_recorded() -> None:
    plan = plan_of(job("a"), job("b"))
    plan.start()
    plan.handle(CancelRequested())
    assert [type(command) for command in succeed(plan, 0, 1)] == [RecordSuccess, Finish]
    assert plan.context_infos.to_dict() == {"anonymous": [{"meta_name": "a", "res_0": 1}]}


# --- resuming ---


def test_jobs_of_the_history_are_not_run_again_and_their_outputs_can_be_used() -> None:
    jobs = [job("a", output=["x"]), job("b", input={"extra_configs.a": "-1.x"}), job("c")]
    history = [PastSuccess(iter=1, index=0, infos={"meta_name": "a", "x": 5})]
    plan = Plan(experiment(pipeline(*jobs)), history)
    commands = plan.start()
    assert [type(command) for command in commands] == [BeginIteration, StartJob]
    assert (the_start(commands).index, the_start(commands).extra_configs) == (1, {"a": 5})


def test_a_complete_history_finishes_at_once() -> None:
    history = [PastSuccess(iter=number, index=0, infos={"meta_name": "a", "res_0": number}) for number in (1, 2)]
    plan = Plan(experiment(pipeline(job("a")), max_iter_num=2), history)
    assert [type(command) for command in plan.start()] == [
        BeginIteration,
        EndIteration,
        BeginIteration,
        EndIteration,
        Finish,
    ]
    assert [each.to_dict()["anonymous"][0]["res_0"] for each in plan.iterations] == [1, 2]


def test_an_attempt_that_was_running_is_started_under_its_number_and_retries_are_counted_from_there() -> None:
    plan = Plan(experiment(pipeline(job("a", retries=2))), attempts=[PastAttempt(iter=1, index=0, attempt=2)])
    assert the_start(plan.start()).attempt == 2
    assert the_start(fail(plan, 0, attempt=2)).attempt == 3
    assert isinstance(fail(plan, 0, attempt=3)[-1], Finish)


def test_a_past_failure_stays_and_the_experiment_fails_when_the_other_jobs_have_ended() -> None:
    both = experiment(pipeline(job("a"), job("b"), name="first"), pipeline(job("c"), name="second"), parallel=True)
    plan = Plan(both, attempts=[PastAttempt(iter=1, index=0, attempt=1, error="broke")])
    commands = plan.start()
    assert [type(command) for command in commands] == [BeginIteration, StartJob]
    assert the_start(commands).index == 2
    assert succeed(plan, 2, None)[-1] == Finish(state="failed", error="first.a: broke")
