"""Experiments with a real daemon, in real workers, in a real env."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox_actors.errors import NotFound, Refused
from sandbox_actors.protocol.rows import ExperimentDetail

from .conftest import Sandbox


def outputs(detail: ExperimentDetail) -> list[dict[str, Any]]:
    (iteration,) = detail.iterations
    return iteration.context_infos["anonymous"]


def test_jobs_run_in_order_and_their_outputs_are_recorded(sandbox: Sandbox) -> None:
    detail = sandbox.run(
        {"type": "Returns", "meta_name": "one", "value": {"a": [1, 2.5, "x", None]}},
        {"type": "Returns", "meta_name": "two", "value": [1, "b"], "as_tuple": True, "output": ["first", "second"]},
        {
            "type": "Returns",
            "meta_name": "three",
            "value": "?",
            "input": {"extra_configs.value": "anonymous.two.second"},
        },
        {"type": "Returns", "meta_name": "four", "value": "?", "local": {"extra_configs.value": ["only"]}},
    )
    assert detail.experiment.state == "succeeded"
    assert outputs(detail) == [
        {"meta_name": "one", "res_0": {"a": [1, 2.5, "x", None]}},
        {"meta_name": "two", "first": 1, "second": "b"},
        {"meta_name": "three", "res_0": "b"},
        {"meta_name": "four", "res_0": "only"},
    ]
    started = [job.started for job in detail.jobs]
    assert started == sorted(started)  # type: ignore[type-var]
    written = json.loads((sandbox.cwd / "work" / "context_infos.json").read_text())
    assert written == [{"iter": 1, "context_infos": {"anonymous": outputs(detail)}}]


@pytest.mark.parametrize("value", [0.0, 0, {}, [], "", False])
def test_a_falsy_output_is_not_an_error(sandbox: Sandbox, value: Any) -> None:
    detail = sandbox.run({"type": "Returns", "meta_name": "job", "value": value, "output": ["out"]})
    assert outputs(detail) == [{"meta_name": "job", "out": value}]


def test_none_is_recorded_only_under_a_name(sandbox: Sandbox) -> None:
    job = {"type": "Returns", "value": None}
    detail = sandbox.run({**job, "meta_name": "unnamed"}, {**job, "meta_name": "named", "output": ["out"]})
    assert outputs(detail) == [{"meta_name": "unnamed"}, {"meta_name": "named", "out": None}]


def test_a_second_run_uses_the_same_process_and_the_loaded_model(sandbox: Sandbox) -> None:
    job = {"type": "Loads", "meta_name": "load", "model": "small"}
    first, second = sandbox.run(job), sandbox.run(job)
    (cold,), (warm,) = outputs(first), outputs(second)
    assert cold == warm == {"meta_name": "load", "res_0": cold["res_0"], "res_1": 1, "res_2": "small"}
    assert [first.jobs[0].warm, second.jobs[0].warm] == [False, True]
    with sandbox.client() as client:
        worker = next(row for row in client.workers() if row.worker == second.jobs[0].worker)
    assert (worker.pid, worker.runs, worker.state, worker.env) == (cold["res_0"], 2, "idle", "plain")


def test_another_model_gets_a_process_of_its_own_and_both_stay_warm(sandbox: Sandbox) -> None:
    small, large = ({"type": "Loads", "meta_name": "load", "model": model} for model in ("small", "large"))
    pids = [outputs(sandbox.run(job))[0]["res_0"] for job in (small, large, small, large)]
    assert pids[:2] == pids[2:]
    assert pids[0] != pids[1]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "ValueError: the data are"),
        ("exit", "exited with status 0 without delivering a result"),
        ("sys.exit", "sys.exit(3)"),
        ("kill", "was ended by SIGKILL without delivering a result"),
        ("segfault", "was ended by SIGSEGV"),
        ("unrecordable", "the output is a faulty.Fails, which cannot be recorded"),
    ],
)
def test_a_failing_component_fails_only_its_experiment(sandbox: Sandbox, how: str, message: str) -> None:
    good = {"type": "Returns", "meta_name": "good", "value": 1}
    detail = sandbox.run(good, {"type": "Fails", "meta_name": "bad", "how": how}, {**good, "meta_name": "never"})
    assert detail.experiment.state == "failed"
    assert [job.state for job in detail.jobs] == ["succeeded", "failed", "cancelled"]
    assert message in detail.jobs[1].error
    assert "anonymous.bad" in detail.experiment.error
    assert outputs(detail) == [{"meta_name": "good", "res_0": 1}]
    if how == "raise":
        assert 'raise ValueError("the data are' in detail.jobs[1].error, "the traceback is part of the error"
    if how in ("exit", "kill", "segfault"):
        assert "about to fail" in detail.jobs[1].error, "the last lines are part of the error"
    assert sandbox.run(good).experiment.state == "succeeded"


def test_a_worker_that_is_stopped_by_a_signal_is_noticed_and_killed(sandbox: Sandbox) -> None:
    job = {"type": "Fails", "meta_name": "job", "how": "stop"}
    started = time.monotonic()
    (row,) = sandbox.run(job).jobs
    assert "was stopped (SIGSTOP)" in row.error
    assert "about to fail" in row.error
    assert time.monotonic() - started < 30


def test_a_process_in_which_a_run_failed_is_never_reused(sandbox: Sandbox, tmp_path: Path) -> None:
    job = {"type": "Fails", "meta_name": "job", "how": "raise", "times": 1, "counter": str(tmp_path / "counter")}
    failed = sandbox.run(job).jobs[0]
    recovered = sandbox.run(job).jobs[0]
    assert (failed.state, recovered.state) == ("failed", "succeeded")
    assert recovered.warm is False


def test_a_job_is_retried_and_the_log_of_each_attempt_is_kept(sandbox: Sandbox, tmp_path: Path) -> None:
    counter = str(tmp_path / "counter")
    detail = sandbox.run(
        {"type": "Fails", "meta_name": "job", "how": "raise", "times": 1, "counter": counter, "retries": 1}
    )
    assert (detail.jobs[0].state, detail.jobs[0].attempt) == ("succeeded", 2)
    logs = Path(detail.jobs[0].log).parent
    assert sorted(len(path.read_text()) > 0 for path in logs.iterdir()) == [False, True]


def test_a_job_that_exceeds_its_timeout_is_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    ready = str(tmp_path / "ready")
    detail = sandbox.run({"type": "Hangs", "meta_name": "job", "ready": ready, "timeout": 1.0})
    assert "longer than its timeout of 1 seconds" in detail.jobs[0].error
    assert [each for each in sandbox.processes() if "sleep" in each.name()] == []


def test_metrics_are_available_while_the_training_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = {"type": "Trains", "hook": "TrainModelHook", "meta_name": "train", "steps": 5, "gate": str(gate)}
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(job))
        for changed in client.follow(id, interval=0.0):
            if any(row.step == 4 for row in changed.metrics):
                assert client.show(id).jobs[0].state == "running"
                gate.touch()
        rows = client.metrics(id, "loss")
        assert [(row.step, row.value) for row in rows] == [(1, 1.0), (2, 0.5), (3, 0.3333), (4, 0.25), (5, 0.2)]
        assert rows == client.metrics(id, "anonymous.train.loss")
        assert client.metrics(id, "no such metric") == []


def test_no_metric_of_a_hundred_thousand_lines_is_lost(sandbox: Sandbox) -> None:
    job = {"type": "Trains", "hook": "TrainModelHook", "meta_name": "train", "steps": 100_000}
    sandbox.run(job)
    with sandbox.client() as client:
        steps = [row.step for row in client.metrics("@", "loss")]
    assert steps == list(range(1, 100_001))


def test_all_output_is_in_the_log_and_watched_line_by_line(sandbox: Sandbox) -> None:
    detail = sandbox.run({"type": "Prints", "hook": "TrainModelHook", "meta_name": "print"})
    with sandbox.client() as client:
        seen = {row.value for row in client.metrics("@", "seen")}
        log = b"".join(client.log("@", "print"))
    whole = {"python", "stderr", "descriptor", "bad \ufffd utf-8", "child", "grandchild", "after a bar", "no end"}
    assert seen == whole | {"x" * 37}
    assert b"m: bad \xff utf-8" in log
    link = sandbox.cwd / "work" / "log" / "print.log"
    assert link.resolve() == Path(detail.jobs[0].log)
    assert link.read_bytes() == log


def test_an_error_in_watch_run_loses_a_metric_but_not_the_training(sandbox: Sandbox) -> None:
    detail = sandbox.run({"type": "WatchesBadly", "hook": "TrainModelHook", "meta_name": "train"})
    assert detail.jobs[0].state == "succeeded"
    with sandbox.client() as client:
        assert [row.value for row in client.metrics("@", "number")] == [1, 3]
        assert b"ValueError: invalid literal" in b"".join(client.log("@", "train"))


def test_a_component_records_and_queries_metrics_from_its_own_process(sandbox: Sandbox) -> None:
    assert outputs(sandbox.run({"type": "Queries", "meta_name": "ask"})) == [
        {"meta_name": "ask", "res_0": 0.5, "res_1": None}
    ]


def test_cancelling_ends_the_job_and_all_its_processes(sandbox: Sandbox, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    jobs = {"type": "Hangs", "meta_name": "job", "ready": str(ready)}, {"type": "Returns", "meta_name": "x", "value": 1}
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(*jobs))
        while not ready.exists():
            time.sleep(0.01)
        assert client.cancel(id).state == "cancelled"
        assert [job.state for job in client.show(id).jobs] == ["cancelled", "cancelled"]
        assert [each for each in sandbox.processes() if "sleep" in each.name()] == []
        with pytest.raises(Refused, match="was cancelled already"):
            client.cancel(id)


def test_experiments_run_in_parallel_but_not_in_the_same_work_dir(sandbox: Sandbox, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    hang = {"type": "Hangs", "meta_name": "job", "ready": str(ready)}
    quick = {"type": "Returns", "meta_name": "job", "value": 1}
    with sandbox.client() as client:
        first = client.submit_definition(sandbox.definition(hang))
        while not ready.exists():
            time.sleep(0.01)
        queued = client.submit_definition(sandbox.definition(quick))
        other = client.submit_definition(sandbox.definition(quick, work_dir=str(tmp_path / "other")))
        assert sandbox.wait(client, other).experiment.state == "succeeded"
        waiting = client.show(queued).experiment
        assert waiting.state == "waiting"
        assert "waits for another experiment" in waiting.reason
        client.cancel(first)
        assert sandbox.wait(client, queued).experiment.state == "succeeded"


def test_a_waiting_experiment_can_be_cancelled(sandbox: Sandbox, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    hang = {"type": "Hangs", "meta_name": "job", "ready": str(ready)}
    with sandbox.client() as client:
        first, second = (client.submit_definition(sandbox.definition(hang)) for _ in range(2))
        assert client.cancel(second).state == "cancelled"
        client.cancel(first)


def test_only_workers_that_are_not_in_use_can_be_stopped_without_force(sandbox: Sandbox, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    sandbox.run({"type": "Returns", "meta_name": "job", "value": 1})
    with sandbox.client() as client:
        idle = next(row for row in client.workers() if row.component == "returns")
        assert client.stop_worker(idle.worker).pid == idle.pid
        assert not psutil.pid_exists(idle.pid)
        with pytest.raises(NotFound, match="sandbox ps"):
            client.stop_worker(idle.worker)
        id = client.submit_definition(sandbox.definition({"type": "Hangs", "meta_name": "job", "ready": str(ready)}))
        while not ready.exists():
            time.sleep(0.01)
        busy = next(row for row in client.workers() if row.component == "hangs")
        with pytest.raises(Refused, match=r"anonymous\.job"):
            client.stop_worker(busy.worker)
        client.stop_worker(busy.worker, force=True)
        assert "without delivering a result" in sandbox.wait(client, id).jobs[0].error


def test_an_actor_without_keep_alive_is_stopped_after_its_job(sandbox: Sandbox) -> None:
    detail = sandbox.run({"type": "Loads", "meta_name": "job", "model": "m", "keep_alive": 0})
    with sandbox.client() as client:
        while any(row.worker == detail.jobs[0].worker for row in client.workers()):
            time.sleep(0.01)


def test_an_actor_can_be_kept_alive_forever(sandbox: Sandbox) -> None:
    job = {"type": "Loads", "meta_name": "job", "model": "m", "keep_alive": -1.0}
    sandbox.run(job)
    assert sandbox.run(job).jobs[0].warm is True
    with sandbox.client() as client:
        assert [row.keep_alive_seconds for row in client.workers() if row.component == "loads"] == [None]


def test_a_second_daemon_for_the_same_home_is_refused_and_names_the_first(sandbox: Sandbox) -> None:
    assert sandbox.daemon is not None
    command = [sys.executable, "-m", "sandbox_actors.daemon"]
    second = subprocess.run(command, env=sandbox.environ, capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert f"another daemon (pid {sandbox.daemon.pid})" in second.stderr
    with sandbox.client() as client:
        assert client.status().pid == sandbox.daemon.pid


def test_a_stopping_daemon_finishes_what_runs_and_accepts_nothing_new(sandbox: Sandbox, tmp_path: Path) -> None:
    from sandbox_actors.protocol.client_requests import StopDaemon

    gate = tmp_path / "gate"
    job = {"type": "Trains", "hook": "TrainModelHook", "meta_name": "train", "steps": 2, "gate": str(gate)}
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(job))
        client._connection.ask(StopDaemon())
        with pytest.raises(Refused, match="about to stop"):
            client.submit_definition(sandbox.definition(job))
        gate.touch()
        assert sandbox.wait(client, id).experiment.state == "succeeded"
    assert sandbox.daemon is not None
    assert sandbox.daemon.wait(30) == 0
