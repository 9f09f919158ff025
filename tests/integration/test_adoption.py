"""A killed daemon loses no training: its workers continue, and the next daemon adopts them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox_actors.client.client import Client
from sandbox_actors.protocol.rows import ExperimentDetail, JobRow

from .conftest import Sandbox

DEADLINE = 30.0
"""Seconds, for a machine under load."""


class Training:
    """A job that signals when it is before its last step, and then waits to be released."""

    def __init__(self, sandbox: Sandbox, folder: Path, **job: Any) -> None:
        self.sandbox, self._ready, self._gate = sandbox, folder / "ready", folder / "gate"
        paths = {"ready": str(self._ready), "gate": str(self._gate)}
        defaults = {"type": "Steps", "hook": "TrainModelHook", "meta_name": "train", "steps": 5}
        self.job = {**defaults, **paths, **job}
        self.id = ""

    def submit(self, **settings: Any) -> None:
        with self.sandbox.client() as client:
            self.id = client.submit_definition(self.sandbox.definition(self.job, **settings))
        until(self._ready.exists)

    def release(self) -> None:
        self._gate.touch()

    def worker(self) -> psutil.Process:
        with self.sandbox.client() as client:
            (row,) = (row for row in client.workers() if row.component == "steps")
        return psutil.Process(row.pid)

    def has_result(self) -> bool:
        return (self.sandbox.home / "runs" / f"{self.id}.1.0.1" / "result").exists()

    def ended(self) -> ExperimentDetail:
        with self.sandbox.client() as client:
            return self.sandbox.wait(client, self.id)

    def assert_complete(self, attempts: int = 1) -> JobRow:
        """Assert that it has succeeded, and that each metric of each step was recorded once."""
        detail = self.ended()
        (job,) = detail.jobs
        assert (job.state, job.attempt) == ("succeeded", attempts), job.error
        (iteration,) = detail.iterations
        assert len(iteration.context_infos["anonymous"]) == 1
        steps = list(range(1, self.job["steps"] + 1))
        with self.sandbox.client() as client:
            for name in ("printed", "watched"):
                assert [(row.step, row.value) for row in client.metrics(self.id, name)] == [(n, n) for n in steps], name
        assert list((self.sandbox.home / "runs").iterdir()) == [], "results in the store are kept nowhere else"
        return job


@pytest.fixture
def training(sandbox: Sandbox, tmp_path: Path) -> Training:
    return Training(sandbox, tmp_path)


def until(is_true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running_job(client: Client, id: str) -> JobRow:
    (job,) = client.show(id).jobs
    return job


def test_a_job_continues_and_the_next_daemon_waits_for_it(sandbox: Sandbox, training: Training) -> None:
    training.submit()
    with sandbox.client() as client:
        before = running_job(client, training.id)
    sandbox.kill()
    sandbox.start()
    with sandbox.client() as client:
        after = running_job(client, training.id)
    assert (after.state, after.started, after.worker) == ("running", before.started, before.worker)
    worker = training.worker()
    training.release()
    training.assert_complete()
    assert worker.is_running(), "it is idle, and warm"
    assert sandbox.run(training.job).jobs[0].warm is True


def test_a_result_from_a_time_without_a_daemon_is_recorded(sandbox: Sandbox, training: Training) -> None:
    training.submit()
    worker = training.worker()
    sandbox.kill()
    training.release()
    until(training.has_result)
    sandbox.start()
    training.assert_complete()
    again = sandbox.run(training.job)
    (iteration,) = again.iterations
    assert (again.jobs[0].warm, iteration.context_infos["anonymous"][0]["res_0"]) == (True, worker.pid)


def test_a_failure_from_a_time_without_a_daemon_is_recorded(sandbox: Sandbox, training: Training) -> None:
    training.job["steps"] = "not a number"
    training.job["type"] = "FailsLate"
    training.submit()
    sandbox.kill()
    training.release()
    until(training.has_result)
    sandbox.start()
    (job,) = training.ended().jobs
    assert job.state == "failed"
    assert "ValueError: late" in job.error
    assert "Traceback" in job.error


def test_a_daemon_is_killed_several_times(sandbox: Sandbox, training: Training) -> None:
    training.submit()
    for _ in range(3):
        sandbox.kill()
        sandbox.start()
    with sandbox.client() as client:
        assert running_job(client, training.id).state == "running"
    training.release()
    training.assert_complete()


def test_idle_actors_are_adopted_with_their_loaded_models(sandbox: Sandbox) -> None:
    jobs = [{"type": "Loads", "meta_name": f"load{n}", "model": f"m{n}"} for n in range(12)]
    sandbox.run(*jobs)
    with sandbox.client() as client:
        before = {(row.worker, row.pid, row.model) for row in client.workers()}
    sandbox.kill()
    sandbox.start()
    started = time.monotonic()
    with sandbox.client() as client:
        until(lambda: {row.state for row in client.workers()} == {"idle"})
        assert time.monotonic() - started < 5
        assert {(row.worker, row.pid, row.model) for row in client.workers()} == before
    detail = sandbox.run(*jobs)
    assert {job.warm for job in detail.jobs} == {True}
    assert {entry["res_1"] for entry in detail.iterations[0].context_infos["anonymous"]} == {1}, "loaded once"
    fresh = sandbox.run({"type": "Returns", "meta_name": "job", "value": 1}).jobs[0].worker
    assert fresh not in {worker for worker, _, _ in before}, "no name is reused"


def test_a_worker_is_killed_while_there_is_no_daemon(sandbox: Sandbox, training: Training) -> None:
    training.submit()
    worker = training.worker()
    sandbox.kill()
    worker.kill()
    sandbox.start()
    detail = training.ended()
    assert detail.experiment.state == "failed"
    assert "ended together with the daemon" in detail.jobs[0].error
    assert f"sandbox resume {training.id}" in detail.experiment.error
    training.release()
    with sandbox.client() as client:
        client.resume(training.id)
    assert training.ended().experiment.state == "succeeded"


def test_a_job_whose_worker_is_killed_without_a_daemon_is_retried_if_the_file_says_so(
    sandbox: Sandbox, training: Training
) -> None:
    training.job["retries"] = 1
    training.submit()
    worker = training.worker()
    sandbox.kill()
    worker.kill()
    sandbox.start()
    training.release()
    detail = training.ended()
    assert (detail.experiment.state, detail.jobs[0].attempt) == ("succeeded", 2)


def test_a_worker_that_holds_the_gil_is_adopted_when_it_releases_it(sandbox: Sandbox, training: Training) -> None:
    training.job["gil"] = 3
    training.submit()
    training.release()
    sandbox.kill()
    sandbox.start()
    training.assert_complete()


def test_a_run_that_its_worker_never_received_is_requested_again(sandbox: Sandbox, training: Training) -> None:
    training.release()
    sandbox.run(training.job)
    worker = training.worker()
    worker.suspend()
    with sandbox.client() as client:
        training.id = client.submit_definition(sandbox.definition(training.job))
        until(lambda: (sandbox.home / "runs" / f"{training.id}.1.0.1" / "run").exists())
    sandbox.kill()
    worker.resume()
    sandbox.start()
    training.assert_complete()


def test_an_adopted_job_can_be_cancelled(sandbox: Sandbox, training: Training) -> None:
    training.submit()
    worker = training.worker()
    sandbox.kill()
    sandbox.start()
    with sandbox.client() as client:
        assert client.cancel(training.id).state == "cancelled"
    assert worker not in sandbox.processes()


def test_an_adopted_job_keeps_its_timeout(sandbox: Sandbox, training: Training) -> None:
    training.job["timeout"] = 3.0
    training.submit()
    sandbox.kill()
    time.sleep(1.0)
    sandbox.start()
    (job,) = training.ended().jobs
    assert "longer than its timeout of 3 seconds" in job.error
    assert job.seconds is not None
    assert job.seconds >= 3.0


def test_an_adopted_job_keeps_its_memory_limit(sandbox: Sandbox, tmp_path: Path) -> None:
    job = {"type": "HoardsLate", "meta_name": "hoard", "mib": 300, "gate": str(tmp_path / "gate")}
    definition = sandbox.definition(job)
    definition["experiment"]["pipelines"][0]["execution_jobs"][0]["resources"] = {"memory": 256 * 1024**2}
    with sandbox.client() as client:
        id = client.submit_definition(definition)
        until(lambda: running_job(client, id).worker)
    until(lambda: list((sandbox.home / "runs").glob("*/run")))
    sandbox.kill()
    (tmp_path / "gate").touch()
    sandbox.start()
    with sandbox.client() as client:
        (row,) = sandbox.wait(client, id).jobs
    assert "more than its limit of 256 MiB" in row.error


def test_the_cpus_of_an_adopted_job_are_not_given_to_another(sandbox: Sandbox, training: Training) -> None:
    everything = {"resources": {"cpus": 10_000.0}}
    training.job |= everything
    training.submit()
    sandbox.kill()
    sandbox.start()
    job = {"type": "Returns", "meta_name": "job", "value": 1, **everything}
    with sandbox.client() as client:
        other = client.submit_definition(sandbox.definition(job, work_dir=str(sandbox.cwd / "other")))
        until(lambda: "waits for" in running_job(client, other).reason)
        training.release()
        assert sandbox.wait(client, other).experiment.state == "succeeded"
    training.assert_complete()


def test_an_orphaned_worker_ends_itself_but_not_before_its_job(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.stop()
    sandbox.environ["SANDBOX_GRACE"] = "0.5"
    sandbox.start()
    training = Training(sandbox, tmp_path)
    sandbox.run({"type": "LeavesChildren", "meta_name": "job"})
    training.submit()
    worker = training.worker()
    sandbox.kill()
    until(lambda: {process.pid for process in sandbox.processes()} == {worker.pid})
    training.release()
    until(lambda: sandbox.processes() == [])
    assert training.has_result()
    sandbox.start()
    training.assert_complete()


def test_waiting_experiments_continue_in_their_order(sandbox: Sandbox, training: Training) -> None:
    training.submit()
    with sandbox.client() as client:
        job = {"type": "Returns", "meta_name": "job", "value": 1}
        queued = client.submit_definition(sandbox.definition(job))
        until(lambda: "waits for another" in client.show(queued).experiment.reason)
    sandbox.kill()
    sandbox.start()
    with sandbox.client() as client:
        until(lambda: "waits for another" in client.show(queued).experiment.reason)
        training.release()
        assert sandbox.wait(client, queued).experiment.state == "succeeded"
    training.assert_complete()


def test_the_children_of_a_dead_worker_are_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with sandbox.client() as client:
        client.submit_definition(sandbox.definition({"type": "Hangs", "meta_name": "job", "ready": str(ready)}))
        until(ready.exists)
        (row,) = (row for row in client.workers() if row.component == "hangs")
    sandbox.kill()
    psutil.Process(row.pid).kill()
    sandbox.start()
    until(lambda: [process for process in sandbox.processes() if process.name() == "sleep"] == [])


def test_a_daemon_that_is_terminated_ends_its_workers_and_records_what_was_interrupted(
    sandbox: Sandbox, training: Training
) -> None:
    training.job["retries"] = 3
    training.submit()
    sandbox.stop()
    assert sandbox.processes() == []
    sandbox.start()
    detail = training.ended()
    assert detail.experiment.state == "failed"
    assert f"sandbox resume {training.id}" in detail.experiment.error
    training.release()
    with sandbox.client() as client:
        client.resume(training.id)
    assert training.ended().experiment.state == "succeeded"


def test_a_failed_pipeline_stays_failed_while_the_others_continue(sandbox: Sandbox, training: Training) -> None:
    counter = sandbox.cwd / "counter"
    fails = {"type": "Fails", "meta_name": "fails", "how": "raise", "counter": str(counter)}
    definition = sandbox.definition(training.job)
    other = sandbox.definition(fails)["experiment"]["pipelines"][0]
    definition["experiment"]["pipelines"].append({**other, "name": "other"})
    definition["experiment"]["parallel"] = True
    with sandbox.client() as client:
        training.id = client.submit_definition(definition)
        until(lambda: {job.state for job in client.show(training.id).jobs} == {"failed", "running"})
    sandbox.kill()
    sandbox.start()
    training.release()
    detail = training.ended()
    assert [job.state for job in detail.jobs] == ["succeeded", "failed"]
    assert "the data are" in detail.experiment.error
    assert counter.read_bytes() == b".", "it was not run again"


def test_a_worker_without_a_record_is_rejected_and_ends_after_its_job(sandbox: Sandbox, training: Training) -> None:
    training.submit()
    worker = training.worker()
    sandbox.kill()
    for record in (sandbox.home / "workers").iterdir():
        record.write_bytes(b"of another version")
    sandbox.start()
    assert training.ended().experiment.state == "failed"
    training.release()
    until(lambda: worker not in sandbox.processes())
    assert "is not a record of a worker that this daemon can read" in (sandbox.home / "daemon.log").read_text()


def test_records_of_workers_contain_no_secrets_and_are_private(sandbox: Sandbox, training: Training) -> None:
    sandbox.stop()
    sandbox.environ["SOME_API_KEY"] = "hunter2"
    sandbox.start()
    training.submit()
    for folder in ("workers", "runs"):
        for path in (sandbox.home / folder).rglob("*"):
            assert path.stat().st_mode & 0o077 == 0
            if path.is_file():
                assert b"hunter2" not in path.read_bytes()
    training.release()
    training.assert_complete()
