"""Every experiment has one owner, whatever becomes of the clients that asked for something: it is started, waits,
resumes and ends as its record says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import Connection
from sandbox_actors.errors import Refused
from sandbox_actors.protocol.client_requests import CancelExperiment, ResumeExperiment, StopWorker, Submit
from sandbox_actors.protocol.frames import Ask, Request, encode

from .conftest import Sandbox
from .test_adoption import Training, until

QUICK = {"type": "Returns", "meta_name": "quick", "value": 1}


def ask_and_leave(place: Sandbox, request: Request[Any]) -> None:
    """Send a request, and close the connection without waiting for the answer."""
    connection = Connection(place.paths.socket)
    connection._socket.send(encode(Ask(id=1, body=msgspec.Raw(encode(request)))))
    connection._context.destroy(linger=1000)


def at_once(act: Callable[[], object], count: int) -> None:
    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def submission(place: Sandbox, *jobs: dict[str, Any], key: str = "", **settings: Any) -> Submit:
    definition = place.definition(*jobs, **settings)
    return Submit(key=key, definition=definition, source="", cwd=str(place.cwd), environ={"WANDB_MODE": "disabled"})


FAILS = {"type": "Fails", "meta_name": "fails", "how": "raise"}


def hang(folder: Path) -> dict[str, Any]:
    return {"type": "Hangs", "meta_name": "hang", "ready": str(folder / "ready")}


# --- clients that leave ---


def test_what_a_client_submits_and_leaves_is_run(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        for number in range(20):
            request = submission(sandbox, QUICK, work_dir=str(sandbox.cwd / str(number)))
            ask_and_leave(sandbox, request)
        until(lambda: len(client.experiments()) == 20)
        until(lambda: client.status().experiments == 0)
        rows = client.experiments()
    assert {row.state for row in rows} == {"succeeded"}


def test_a_cancel_whose_client_leaves_is_obeyed(sandbox: Sandbox, tmp_path: Path) -> None:
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(hang(tmp_path)))
        until((tmp_path / "ready").exists)
        ask_and_leave(sandbox, CancelExperiment(experiment=id))
        assert sandbox.wait(client, id).experiment.state == "cancelled"
        assert client.resume(id) == id, "nothing of the cancel is left"
        until(lambda: client.show(id).jobs[0].state == "running")
        client.cancel(id)


def test_a_resume_whose_client_leaves_is_carried_out_once(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(FAILS))
        sandbox.wait(client, id)
        seen = client.show(id).experiment.finished
        for _ in range(3):
            ask_and_leave(sandbox, ResumeExperiment(experiment=id))
        until(lambda: client.show(id).experiment.finished not in (None, seen))
        assert client.show(id).experiment.state == "failed"
        until(lambda: client.status().experiments == 0)


def test_a_stop_of_a_worker_whose_client_leaves_is_carried_out(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        worker = sandbox.run(QUICK).jobs[0].worker
        ask_and_leave(sandbox, StopWorker(worker=worker, force=True))
        until(lambda: worker not in [row.worker for row in client.workers()])


# --- requests that are sent again ---


def test_a_submission_that_is_sent_again_runs_once(sandbox: Sandbox) -> None:
    request = submission(sandbox, QUICK, key="k1")
    with sandbox.client() as client:
        ask_and_leave(sandbox, request)
        ids = {client._connection.ask(request).experiment for _ in range(3)}
        assert len(ids) == 1
        sandbox.kill()
        sandbox.start()
    with sandbox.client() as client:
        assert client._connection.ask(request).experiment in ids
        assert client._connection.ask(submission(sandbox, QUICK, key="k2")).experiment not in ids
        for row in client.experiments():
            assert sandbox.wait(client, row.id).experiment.state == "succeeded"
        assert len(client.experiments()) == 2


def test_the_same_submission_from_many_clients_at_once_runs_once(sandbox: Sandbox) -> None:
    request, found = submission(sandbox, QUICK, key="k"), list[str]()

    def submit() -> None:
        with sandbox.client() as client:
            found.append(client._connection.ask(request).experiment)

    at_once(submit, 8)
    assert len(found) == 8
    assert len(set(found)) == 1
    with sandbox.client() as client:
        assert len(client.experiments()) == 1
        sandbox.wait(client, found[0])


def test_of_two_resumes_at_once_one_is_refused(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(FAILS))
        sandbox.wait(client, id)
        answers: list[str] = []

        def resume() -> None:
            with sandbox.client() as own:
                try:
                    answers.append(own.resume(id))
                except Refused as error:
                    answers.append(str(error))

        at_once(resume, 4)
        assert len(answers) == 4
        assert id in answers
        assert all(answer == id or "nothing to resume" in answer for answer in answers)
        sandbox.wait(client, id)


# --- cancel at the first moment ---


@pytest.mark.parametrize("resume", [False, True])
def test_a_cancel_right_after_the_submission_is_obeyed(sandbox: Sandbox, tmp_path: Path, resume: bool) -> None:
    before = sandbox.run(QUICK)
    assert before.experiment.state == "succeeded"
    rounds = 0
    for _ in range(10):
        with sandbox.client() as client:
            id = client.submit_definition(sandbox.definition(QUICK, hang(tmp_path), resume=resume))
            assert client.cancel(id).state == "cancelled"
            assert client.show(id).experiment.state == "cancelled"
            rounds += 1
    assert rounds == 10
    with sandbox.client() as client:
        assert client.status().experiments == 0


# --- one work_dir ---


def test_experiments_that_wait_for_a_work_dir_start_in_the_order_of_their_submission(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    training = Training(sandbox, tmp_path)
    training.submit()
    with sandbox.client() as client:
        ids = [client.submit_definition(sandbox.definition(QUICK, experiment_name=f"n{n}")) for n in range(8)]
        assert {client.show(id).experiment.state for id in ids} == {"waiting"}
        training.release()
        started = [sandbox.wait(client, id).experiment.started for id in ids]
    assert None not in started
    assert started == sorted(started, key=float)  # type: ignore[arg-type]


def test_names_of_one_folder_are_one_work_dir(sandbox: Sandbox, tmp_path: Path) -> None:
    same = sandbox.cwd / "same"
    same.mkdir()
    (sandbox.cwd / "x").mkdir()
    (sandbox.cwd / "link").symlink_to(same)
    (sandbox.cwd / "deep").symlink_to(sandbox.cwd)
    training = Training(sandbox, tmp_path)
    training.submit(work_dir=str(same))
    names = ["x/../same", "link", "deep/same", "./same/", "deep/link", "same"]
    with sandbox.client() as client:
        ids = [client.submit_definition(sandbox.definition(QUICK, work_dir=f"{tmp_path}/{name}")) for name in names]
        other = client.submit_definition(sandbox.definition(QUICK, work_dir=f"{tmp_path}/other"))
        assert sandbox.wait(client, other).experiment.state == "succeeded"
        for id in ids:
            row = client.show(id).experiment
            assert (row.state, row.reason) == ("waiting", f"waits for another experiment that uses {same}"), row
        training.release()
        for id in ids:
            assert sandbox.wait(client, id).experiment.state == "succeeded"


# --- a work_dir that cannot be written ---


def test_a_work_dir_that_is_removed_is_made_again(sandbox: Sandbox, tmp_path: Path) -> None:
    training = Training(sandbox, tmp_path)
    training.submit()
    work_dir = sandbox.cwd / "work"
    for path in sorted(work_dir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    work_dir.rmdir()
    training.release()
    training.assert_complete()
    assert (work_dir / "context_infos.json").exists()


def test_a_work_dir_that_cannot_be_written_makes_its_experiment_wait(sandbox: Sandbox, tmp_path: Path) -> None:
    training = Training(sandbox, tmp_path)
    training.submit()
    worker, work_dir = training.worker(), sandbox.cwd / "work"
    work_dir.rename(sandbox.cwd / "elsewhere")
    work_dir.write_text("a file is in its place")
    training.release()
    with sandbox.client() as client:
        until(lambda: "waits for the disk" in client.show(training.id).experiment.reason)
        assert client.show(training.id).experiment.state == "running"
        work_dir.unlink()
        (sandbox.cwd / "elsewhere").rename(work_dir)
    training.assert_complete()
    assert worker.is_running()


def test_an_experiment_that_waits_for_its_work_dir_can_be_cancelled(sandbox: Sandbox, tmp_path: Path) -> None:
    training = Training(sandbox, tmp_path)
    training.submit()
    work_dir = sandbox.cwd / "work"
    work_dir.rename(sandbox.cwd / "elsewhere")
    work_dir.write_text("a file is in its place")
    training.release()
    with sandbox.client() as client:
        until(lambda: "waits for the disk" in client.show(training.id).experiment.reason)
        row = client.cancel(training.id)
    assert row.state in ("succeeded", "cancelled")
    assert "context_infos.json could not be written" in row.error


def test_a_work_dir_that_cannot_be_used_at_all_fails_its_experiment(sandbox: Sandbox) -> None:
    (sandbox.cwd / "file").write_text("")
    detail = sandbox.run(QUICK, work_dir=str(sandbox.cwd / "file" / "work"))
    assert detail.experiment.state == "failed"
    assert "file/work cannot be used: Not a directory" in detail.experiment.error


def test_a_command_after_a_killed_daemon_submits_once(unserved: Sandbox) -> None:
    """The client that loses its daemon during a submission sends it again to the next one."""
    unserved.start()
    with Client(unserved.paths, autostart=True) as client:
        unserved.kill()
        with pytest.warns(UserWarning, match="has died"):
            id = client.submit_definition(unserved.definition(QUICK))
        assert unserved.wait(client, id).experiment.state == "succeeded"
        assert len(client.experiments()) == 1
