"""What `resume: true` takes over from an earlier experiment."""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox_actors.experiment.model import Experiment, Job, Pipeline, Resources
from sandbox_actors.experiment.reuse import Place, carried_over


def job(name: str, **given: Any) -> Job:
    return Job(hook="GeneralDataExecutorHook", meta_name=name, **given)


def experiment(parallel: bool = False, updater: dict[str, str] | None = None, **pipelines: list[Job]) -> Experiment:
    made = [Pipeline(name=name, execution_jobs=jobs) for name, jobs in pipelines.items()]
    return Experiment(
        project_name="p",
        experiment_name="e",
        work_dir="w",
        parallel=parallel,
        max_iter_num=3,
        iter_updater=updater or {},
        pipelines=made,
    )


def places(*indices: int, iter: int = 1) -> dict[Place, Place]:
    return {(iter, index): (iter, index) for index in indices}


A, B, C = job("a"), job("b"), job("c")


def test_what_succeeded_is_taken_up_to_the_first_job_that_did_not() -> None:
    same = experiment(one=[A, B, C])
    assert carried_over(same, places(0, 1), same) == places(0, 1)
    assert carried_over(same, places(0, 2), same) == places(0)
    assert carried_over(same, [], same) == {}


def test_a_job_that_has_changed_runs_again_with_all_that_come_after_it() -> None:
    earlier = experiment(one=[A, job("b", extra_configs={"steps": 1}), C], two=[job("d")])
    now = experiment(one=[A, job("b", extra_configs={"steps": 2}), C], two=[job("d")])
    assert carried_over(earlier, places(0, 1, 2, 3), now) == places(0)


def test_how_a_job_was_run_does_not_count_only_what_it_does() -> None:
    patient = job("a", timeout=9.0, retries=2, keep_alive=0.0, resources=Resources(cpus=1.0))
    assert carried_over(experiment(one=[A, B]), places(0), experiment(one=[patient, B])) == places(0)


def test_an_env_that_is_called_the_same_but_is_another_counts() -> None:
    with_env = experiment(one=[job("a", env="own")])
    old, new = (msgspec.structs.replace(with_env, envs={"own": {"deps": [deps]}}) for deps in ("x==1", "x==2"))
    assert carried_over(old, places(0), new) == {}
    assert carried_over(old, places(0), old) == places(0)


def test_pipelines_are_known_by_name_and_one_that_needs_no_other_keeps_its_own() -> None:
    side_by_side = experiment(parallel=True, one=[A, B], two=[C])
    assert carried_over(side_by_side, places(0, 2), side_by_side) == places(0, 2)
    longer = experiment(parallel=True, one=[A, B, job("more")], two=[C])
    assert carried_over(side_by_side, places(0, 2), longer) == {(1, 0): (1, 0), (1, 3): (1, 2)}
    in_turn = experiment(one=[A, B], two=[C])
    assert carried_over(in_turn, places(0, 2), in_turn) == places(0), "the second may read what the first wrote"


def test_a_later_iteration_is_taken_only_after_a_whole_one() -> None:
    same = experiment(one=[A, B])
    both = {**places(0, 1), **places(0, iter=2)}
    assert carried_over(same, both, same) == both
    assert carried_over(same, {**places(0), **places(0, iter=2)}, same) == places(0)
    other = experiment(updater={"one.a.res_0": "one.b.extra_configs.x"}, one=[A, B])
    assert carried_over(same, both, other) == places(0, 1), "the second iteration begins with other configs"
