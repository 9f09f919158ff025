"""Iterations, parallel pipelines and resumed experiments, with a real daemon and real workers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox_actors.cli.view.targets import targets_of
from sandbox_actors.client.client import Client
from sandbox_actors.protocol.rows import JobRow

from .conftest import Sandbox

LIMIT = 4
"""Iterations of the counting experiment."""


def counted(name: str, counter: Path, times: int = 0) -> dict[str, Any]:
    """A job that appends a byte to `counter` for each attempt, and fails in the first `times`."""
    return {"type": "Fails", "meta_name": name, "how": "raise", "times": times, "counter": str(counter)}


def pipelines(sandbox: Sandbox, settings: dict[str, Any], **jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """A frozen experiment with a pipeline for each keyword."""
    made = {name: sandbox.definition(*each, **settings) for name, each in jobs.items()}
    whole = next(iter(made.values()))
    parts = [{**each["experiment"]["pipelines"][0], "name": name} for name, each in made.items()]
    return {**whole, "experiment": {**whole["experiment"], "pipelines": parts}}


def counting(sandbox: Sandbox, *more: dict[str, Any], target: str = "anonymous.add.sum >= 4") -> dict[str, Any]:
    """Each iteration adds 1 to the sum of the one before."""
    add = {"type": "Adds", "meta_name": "add", "value": 0, "export_path": "out/x.jsonl", "output": ["sum", "path"]}
    return sandbox.definition(
        add,
        *more,
        max_iter_num=LIMIT,
        iter_targets=[target],
        iter_updater={"anonymous.add.sum": "anonymous.add.extra_configs.value"},
    )


def recorded_targets(client: Client, id: str) -> list[tuple[int, Any]]:
    return [(row.iter, row.value) for row in client.metrics(id) if row.name.startswith("target.")]


def wait_for(client: Client, id: str, index: int, iter: int = 1, *, reason: str = "", state: str = "") -> JobRow:
    while True:
        for job in client.show(id).jobs:
            if (job.iter, job.index) == (iter, index) and reason in job.reason and job.state == (state or job.state):
                return job
        assert client.show(id).experiment.state in ("waiting", "running"), client.show(id).experiment


def is_complete(job: JobRow) -> bool:
    return job.state == "succeeded" and None not in (job.started, job.finished, job.seconds) and bool(job.worker)


# --- iterations ---


def test_iterations_build_on_each_other_until_the_targets_are_met(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        id = client.submit_definition(counting(sandbox, target="anonymous.add.sum >= 3"))
        detail = sandbox.wait(client, id)
        assert detail.experiment.state == "succeeded"
        entries = [each.context_infos["anonymous"][0] for each in detail.iterations]
        assert [entry["sum"] for entry in entries] == [1, 2, 3]
        assert [entry["path"] for entry in entries] == [f"out/iter_{number}/x.jsonl" for number in (1, 2, 3)]
        assert [(each.iter, each.result.value, each.result.holds) for each in targets_of(detail)] == [
            (1, 1, False),
            (2, 2, False),
            (3, 3, True),
        ]
        assert recorded_targets(client, id) == [(1, False), (2, False), (3, True)]
    work = sandbox.cwd / "work"
    for number in (1, 2, 3):
        assert (work / "log" / f"iter_{number}" / "add.log").read_text() == f"{number - 1} and 1\n"
    assert (work / "log" / "add.log").read_text() == "2 and 1\n"
    written = json.loads((work / "context_infos.json").read_text())
    assert [each["context_infos"]["anonymous"][0]["sum"] for each in written] == [1, 2, 3]


def test_an_experiment_that_misses_its_targets_ends_after_its_iterations(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        detail = sandbox.wait(client, client.submit_definition(counting(sandbox, target="anonymous.add.sum > 99")))
    assert detail.experiment.state == "succeeded"
    assert [each.result.holds for each in targets_of(detail)] == [False] * LIMIT


# --- jobs that have succeeded are not run again ---


@pytest.mark.parametrize("iteration", [1, 3])
@pytest.mark.parametrize("how", ["killed", "cancelled"])
def test_an_interrupted_iteration_continues_where_it_stopped(
    sandbox: Sandbox, tmp_path: Path, iteration: int, how: str
) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    meets = {"type": "Meets", "meta_name": "meet", "mine": str(mine), "other": str(other)}
    definition = counting(sandbox, meets)
    other.touch()
    with sandbox.client() as client:
        if iteration == 1:
            other.unlink()
        id = client.submit_definition(definition)
        if iteration > 1:
            wait_for(client, id, 1, iteration - 1, state="succeeded")
            other.unlink(missing_ok=True)
        while not any(job.index == 1 and job.state == "running" for job in client.show(id).jobs):
            assert client.show(id).experiment.state == "running" or iteration == 1
        if how == "cancelled":
            assert client.cancel(id).state == "cancelled"
    if how == "killed":
        sandbox.kill()
        sandbox.start()
    with sandbox.client() as client:
        before = {(job.iter, job.index): job for job in client.show(id).jobs if job.state == "succeeded"}
        other.touch()
        if how == "cancelled":
            client.resume(id)
        detail = sandbox.wait(client, id)
        assert detail.experiment.state == "succeeded"
        after = {(job.iter, job.index): job for job in detail.jobs}
        assert [each.context_infos["anonymous"][0]["sum"] for each in detail.iterations] == [1, 2, 3, 4]
        assert all(is_complete(job) for job in detail.jobs)
        assert {place: after[place] for place in before} == before, "the rows of succeeded jobs do not change"
        assert recorded_targets(client, id) == [(1, False), (2, False), (3, False), (4, True)]


def test_attempts_are_counted_from_1_again_in_a_resumed_experiment(sandbox: Sandbox, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    job = counted("job", counter, times=3) | {"retries": 1}
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(job))
        failed = sandbox.wait(client, id).jobs[0]
        assert (failed.state, failed.attempt) == ("failed", 2)
        client.resume(id)
        succeeded = sandbox.wait(client, id).jobs[0]
    assert (succeeded.state, succeeded.attempt, succeeded.error) == ("succeeded", 2, "")
    assert counter.read_bytes() == b"." * 4


# --- resume: true ---


def test_resume_in_the_file_reuses_the_results_of_the_last_experiment_in_the_work_dir(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    once, later = tmp_path / "once", tmp_path / "later"
    scored = {"type": "Queries", "meta_name": "score"}
    jobs = counted("first", once), scored, counted("second", later, times=1)
    first = sandbox.run(*jobs)
    assert [job.state for job in first.jobs] == ["succeeded", "succeeded", "failed"]
    with sandbox.client() as client:
        second = sandbox.wait(client, client.submit_definition(sandbox.definition(*jobs, resume=True)))
        metrics = [(row.name, row.value) for row in client.metrics(second.experiment.id)]
    assert second.experiment.state == "succeeded"
    assert (second.experiment.jobs_done, second.experiment.jobs_total) == (3, 3)
    assert once.read_bytes() == b"."
    assert later.read_bytes() == b".."
    taken = f"taken from experiment {first.experiment.id}"
    assert [job.reason for job in second.jobs] == [taken, taken, ""]
    assert all(is_complete(job) for job in second.jobs)
    assert metrics == [("queried.deep.er", 0.5), ("queried.word", "yes")]
    written = json.loads((sandbox.cwd / "work" / "context_infos.json").read_text())
    assert written[0]["context_infos"] == second.iterations[0].context_infos
    assert [entry["meta_name"] for entry in written[0]["context_infos"]["anonymous"]] == ["first", "score", "second"]


def test_resume_in_the_file_runs_a_changed_job_and_those_after_it(sandbox: Sandbox, tmp_path: Path) -> None:
    counters = [tmp_path / name for name in ("a", "b", "c")]
    jobs = [counted(path.name, path) for path in counters]
    first = sandbox.run(*jobs)
    jobs[1]["how"] = "sys.exit"
    second = sandbox.run(*jobs, resume=True)
    assert [path.read_bytes() for path in counters] == [b".", b"..", b".."]
    third = sandbox.run(*jobs, resume=True)
    assert [path.read_bytes() for path in counters] == [b".", b"..", b".."]
    reasons = [f"taken from experiment {each.experiment.id}" for each in (first, second, second)]
    assert [job.reason for job in third.jobs] == reasons
    assert sandbox.run(*jobs).jobs[0].reason == "", "without `resume` every job runs"


# --- parallel pipelines ---


def meeting(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two jobs of which neither can end before the other has started."""
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    job = {"type": "Meets", "meta_name": "meet", "resources": {"cpus": 0.5}}
    return {**job, "mine": a, "other": b}, {**job, "mine": b, "other": a}


def test_independent_pipelines_run_at_the_same_time(sandbox: Sandbox, tmp_path: Path) -> None:
    one, other = meeting(tmp_path)
    after = {"type": "Returns", "meta_name": "after", "value": 1, "input": {"extra_configs.saw": "one.meet.res_0"}}
    with sandbox.client() as client:
        definition = pipelines(sandbox, {"parallel": True}, one=[one], other=[other], third=[after])
        detail = sandbox.wait(client, client.submit_definition(definition))
    assert detail.experiment.state == "succeeded"
    rows = {job.pipeline: job for job in detail.jobs}
    assert started(rows["third"]) >= finished(rows["one"])
    assert max(started(rows["one"]), started(rows["other"])) <= min(finished(rows["one"]), finished(rows["other"]))


def test_after_a_failure_independent_pipelines_finish_and_dependent_ones_do_not_start(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    bad = {"type": "Fails", "meta_name": "bad", "how": "raise", "resources": {"cpus": 0.5}}
    good = {"type": "Returns", "meta_name": "good", "value": 1, "resources": {"cpus": 0.5}}
    needs = {**good, "input": {"extra_configs.saw": "one.bad.res_0"}}
    with sandbox.client() as client:
        definition = pipelines(sandbox, {"parallel": True}, one=[bad], two=[good, good], three=[needs])
        detail = sandbox.wait(client, client.submit_definition(definition))
    assert detail.experiment.state == "failed"
    assert [job.state for job in detail.jobs] == ["failed", "succeeded", "succeeded", "cancelled"]


def test_cancelling_ends_every_pipeline(sandbox: Sandbox, tmp_path: Path) -> None:
    one, other = meeting(tmp_path)
    one["other"] = other["other"] = str(tmp_path / "never")
    with sandbox.client() as client:
        id = client.submit_definition(pipelines(sandbox, {"parallel": True}, one=[one], other=[other]))
        while not ((tmp_path / "a").exists() and (tmp_path / "b").exists()):
            time.sleep(0.01)
        assert client.cancel(id).state == "cancelled"
        assert [job.state for job in client.show(id).jobs] == ["cancelled", "cancelled"]
        assert [row for row in client.workers() if row.state == "running"] == []


def started(job: JobRow) -> float:
    assert job.started is not None
    return job.started


def finished(job: JobRow) -> float:
    assert job.finished is not None
    return job.finished
