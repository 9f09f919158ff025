"""An error inside the daemon ends no training: neither that of another experiment, nor the one that it happened to."""

from __future__ import annotations

import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import msgspec
import psutil
import pytest

from sandbox_actors.client.client import Client
from sandbox_actors.daemon.crashes import MOST_CRASHES, STATUS
from sandbox_actors.errors import DaemonUnreachable, SandboxError

from .conftest import Sandbox
from .test_adoption import Training, until

ERRING = Path(__file__).with_name("erring.py")

SHARED = [
    "sandbox_actors.actors.pool:due",  # of the pool's own messages: ends the daemon
    "sandbox_actors.actors.pool:Pool._idle",
    "sandbox_actors.system.child_process:ChildProcess._finish",  # supervises a process
    "sandbox_actors.transport.unix_listener:Listener.accept",
    "sandbox_actors.daemon.experiments:Experiments._leave",
    "sandbox_actors.actors.actor:Actor._put",
    "sandbox_actors.store.watcher:SandboxWatcher._on_change",
]
"""Parts that all experiments use. Some of these errors end the daemon, others only the request that met them."""

OWN = [
    "sandbox_actors.daemon.coordinator:Coordinator.on_receive",
    "sandbox_actors.daemon.coordinator:Coordinator._record_success",
    "sandbox_actors.jobs.durable_runs:DurableRuns.result",
    "sandbox_actors.jobs.durable_runs:DurableRuns.take_in",
    "sandbox_actors.jobs.durable_runs:DurableRuns.forget",
    "sandbox_actors.daemon.work_dir:WorkDir.write_context",
]
"""What only the experiment that trains is affected by."""


@pytest.fixture
def trigger(tmp_path: Path) -> Path:
    return tmp_path / "trigger"


def start_erring(place: Sandbox, target: str, trigger: Path) -> int:
    place.start(str(ERRING), target, str(trigger))
    assert place.daemon is not None
    return place.daemon.pid


def train_with(place: Sandbox, folder: Path, target: str, trigger: Path) -> tuple[int, Training, psutil.Process]:
    """A daemon in which `target` can be made to raise, a training under way in it, and the worker of that."""
    daemon, training = start_erring(place, target, trigger), Training(place, folder)
    training.submit()
    return daemon, training, training.worker()


def assert_same(place: Sandbox, training: Training, daemon: int, worker: psutil.Process) -> None:
    """It has trained in the same daemon and the same worker, which is idle now."""
    assert training.worker() == worker
    with place.client() as client:
        assert client.status().pid == daemon
        assert {row.state for row in client.workers() if row.pid == worker.pid} == {"idle"}


def follow(place: Sandbox, training: Training) -> None:
    """Follow to its end, as `sandbox run` does: into the next daemon, which this starts if it has to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the daemon has died
        with Client(place.paths, autostart=True) as client:
            client.wait(training.id)


@pytest.mark.parametrize("target", SHARED)
def test_an_error_in_a_shared_part_ends_no_training(
    unserved: Sandbox, tmp_path: Path, trigger: Path, target: str
) -> None:
    start_erring(unserved, target, trigger)
    training = Training(unserved, tmp_path)
    training.submit(work_dir=str(tmp_path / "first"))
    worker = training.worker()
    trigger.touch()
    job = {"type": "Returns", "meta_name": "other", "value": 1}
    try:
        worker_of_other = unserved.run(job, work_dir=str(tmp_path / "second")).jobs[0].worker
        with unserved.client() as client:
            client.stop_worker(worker_of_other)
    except SandboxError as error:  # of this request, or of all if the daemon has ended
        print(error)
    until(lambda: not trigger.exists())
    assert worker.is_running()
    training.release()
    follow(unserved, training)
    training.assert_complete()
    assert worker.is_running()


@pytest.mark.parametrize("target", OWN)
def test_an_error_in_the_tasks_of_an_experiment_does_not_end_its_training(
    unserved: Sandbox, tmp_path: Path, trigger: Path, target: str
) -> None:
    daemon, training, worker = train_with(unserved, tmp_path, target, trigger)
    trigger.touch()
    training.release()
    training.assert_complete()
    assert_same(unserved, training, daemon, worker)


def test_an_error_while_a_job_is_under_way_leaves_its_worker_in_its_run(
    unserved: Sandbox, tmp_path: Path, trigger: Path
) -> None:
    daemon, training, worker = train_with(unserved, tmp_path, "sandbox_actors.jobs.watchdogs:is_stopped", trigger)
    trigger.touch()
    until(lambda: not trigger.exists())
    training.release()
    training.assert_complete()
    assert_same(unserved, training, daemon, worker)


def test_an_experiment_that_meets_errors_again_and_again_is_set_aside_by_name(
    unserved: Sandbox, tmp_path: Path, trigger: Path
) -> None:
    daemon, training, worker = train_with(unserved, tmp_path, "sandbox_actors.jobs.watchdogs:is_stopped", trigger)
    for _ in range(2):
        trigger.touch()
        until(lambda: not trigger.exists())
    detail = training.ended()
    (job,) = detail.jobs
    assert (detail.experiment.state, job.state) == ("failed", "failed")
    assert "nobody has foreseen" in job.error
    assert "set aside" in job.error
    assert f"`sandbox resume {training.id}`" in job.error
    assert not worker.is_running()
    assert unserved.run({"type": "Returns", "meta_name": "other", "value": 1}).experiment.state == "succeeded"
    with unserved.client() as client:
        assert client.status().pid == daemon


def test_a_daemon_that_crashes_says_why_and_is_not_started_without_end(
    unserved: Sandbox, tmp_path: Path, trigger: Path
) -> None:
    for number in range(MOST_CRASHES):
        trigger.touch()
        start_erring(unserved, SHARED[0], trigger)
        assert unserved.daemon is not None
        assert unserved.daemon.wait(30) == STATUS, number
    assert "nobody has foreseen" in (unserved.home / "daemon.log").read_text()
    with pytest.raises(DaemonUnreachable, match=r"(?s)crashed 5 times within 60 seconds.*nobody has foreseen"):
        Client(unserved.paths, autostart=True)


def test_a_client_learns_what_the_daemon_died_of(unserved: Sandbox, tmp_path: Path, trigger: Path) -> None:
    start_erring(unserved, SHARED[0], trigger)
    training = Training(unserved, tmp_path)
    training.submit()
    job = {"type": "Returns", "meta_name": "x", "value": 1}
    other = unserved.definition(job, work_dir=str(tmp_path / "other"))
    trigger.touch()
    with Client(unserved.paths, autostart=True) as client:
        id = client.submit_definition(other)
        training.release()
        with pytest.warns(UserWarning, match="has died by RuntimeError: an error that nobody has foreseen"):
            client.wait(id)
    training.assert_complete()


def test_a_stored_experiment_that_cannot_be_read_fails_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    training = Training(sandbox, tmp_path)
    training.submit(work_dir=str(tmp_path / "first"))
    worker = training.worker()
    with sandbox.client() as client:
        waiting = client.submit_definition(sandbox.definition({"type": "Returns", "meta_name": "x", "value": 1}))
        sandbox.wait(client, waiting)
    sandbox.kill()
    with closing(sqlite3.connect(sandbox.paths.store)) as db, db:
        (blob,) = db.execute("SELECT submit FROM submissions WHERE experiment = ?", (waiting,)).fetchone()
        submit = msgspec.msgpack.decode(blob)
        submit["definition"] = {"format": 99}
        db.execute("UPDATE submissions SET submit = ? WHERE experiment = ?", (msgspec.msgpack.encode(submit), waiting))
        db.execute("UPDATE experiments SET state = 'waiting', finished = NULL WHERE id = ?", (waiting,))
    sandbox.start()
    training.release()
    training.assert_complete()
    assert worker.is_running()
    with sandbox.client() as client:
        row = sandbox.wait(client, waiting).experiment
    assert row.state == "failed"
    assert "format 99" in row.error


def test_a_spec_longer_than_an_argument_may_be_is_built(sandbox: Sandbox, tmp_path: Path) -> None:
    job = {"type": "Returns", "meta_name": "job", "value": 1}
    env = {"own": {"manager": "uv", "post_install": ["true " + "x" * 1000] * 200}}
    definition = sandbox.definition(job, envs=env)
    definition["experiment"]["pipelines"][0]["execution_jobs"][0]["env"] = "own"
    with sandbox.client() as client:
        detail = sandbox.wait(client, client.submit_definition(definition))
    assert detail.experiment.state == "succeeded", detail.jobs
