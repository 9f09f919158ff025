"""Which results of an earlier experiment `resume: true` reuses."""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox_actors.experiment.model import Experiment, Job, JobKey, Pipeline, Resources
from sandbox_actors.experiment.reuse import find_reusable_jobs


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


def keys(*indices: int, iter: int = 1) -> dict[JobKey, JobKey]:
    return {(iter, index): (iter, index) for index in indices}


A, B, C = job("a"), job("b"), job("c")


def test_jobs_are_reused_up_to_the_first_one_that_did_not_succeed() -> None:
    same = experiment(one=[A, B, C])
    assert find_reusable_jobs(same, keys(0, 1), same) == keys(0, 1)
    assert find_reusable_jobs(same, keys(0, 2), same) == keys(0)
    assert find_reusable_jobs(same, [], same) == {}


def test_a_changed_job_and_all_jobs_after_it_run_again() -> None:
    earlier = experiment(one=[A, job("b", extra_configs={"steps": 1}), C], two=[job("d")])
    now = experiment(one=[A, job("b", extra_configs={"steps": 2}), C], two=[job("d")])
    assert find_reusable_jobs(earlier, keys(0, 1, 2, 3), now) == keys(0)


def test_settings_that_only_say_how_a_job_is_run_may_change() -> None:
    patient = job("a", timeout=9.0, retries=2, keep_alive=0.0, resources=Resources(cpus=1.0))
    assert find_reusable_jobs(experiment(one=[A, B]), keys(0), experiment(one=[patient, B])) == keys(0)


def test_a_job_runs_again_if_the_spec_of_its_env_has_changed() -> None:
    with_env = experiment(one=[job("a", env="own")])
    old, new = (msgspec.structs.replace(with_env, envs={"own": {"deps": [deps]}}) for deps in ("x==1", "x==2"))
    assert find_reusable_jobs(old, keys(0), new) == {}
    assert find_reusable_jobs(old, keys(0), old) == keys(0)


def test_pipelines_are_compared_by_name_and_an_independent_one_is_reused_by_itself() -> None:
    in_parallel = experiment(parallel=True, one=[A, B], two=[C])
    assert find_reusable_jobs(in_parallel, keys(0, 2), in_parallel) == keys(0, 2)
    longer = experiment(parallel=True, one=[A, B, job("more")], two=[C])
    assert find_reusable_jobs(in_parallel, keys(0, 2), longer) == {(1, 0): (1, 0), (1, 3): (1, 2)}
    in_sequence = experiment(one=[A, B], two=[C])
    assert find_reusable_jobs(in_sequence, keys(0, 2), in_sequence) == keys(0), (
        "the second may read what the first wrote"
    )


def test_a_later_iteration_is_reused_only_after_a_complete_one() -> None:
    same = experiment(one=[A, B])
    both = {**keys(0, 1), **keys(0, iter=2)}
    assert find_reusable_jobs(same, both, same) == both
    assert find_reusable_jobs(same, {**keys(0), **keys(0, iter=2)}, same) == keys(0)
    other = experiment(updater={"one.a.res_0": "one.b.extra_configs.x"}, one=[A, B])
    assert find_reusable_jobs(same, both, other) == keys(0, 1), "the second iteration starts with other configs"
