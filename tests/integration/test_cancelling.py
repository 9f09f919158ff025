"""An experiment can be cancelled at any time, ends at once, and leaves no processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sandbox_actors.client.client import Client
from sandbox_actors.protocol.rows import JobRow

from .conftest import Sandbox

AT_ONCE = 5.0
"""Seconds, for a machine under load. Without cancelling, the experiments of these tests would take minutes."""


def cancel(client: Client, id: str) -> list[JobRow]:
    """Cancel the experiment; returns its jobs."""
    started = time.monotonic()
    assert client.cancel(id).state == "cancelled"
    assert time.monotonic() - started < AT_ONCE
    detail = client.show(id)
    assert {job.state for job in detail.jobs} <= {"cancelled", "succeeded"}
    return detail.jobs


def until(client: Client, id: str, reason: str) -> None:
    while reason not in " ".join(job.reason for job in client.show(id).jobs):
        assert client.show(id).experiment.state in ("waiting", "running"), client.show(id).experiment


def own_env(*post_install: str) -> dict[str, Any]:
    return {"own": {"manager": "uv", "post_install": list(post_install)}}


def in_own_env(sandbox: Sandbox, job: dict[str, Any], env: dict[str, Any]) -> dict[str, Any]:
    definition = sandbox.definition(job, envs=env)
    definition["experiment"]["pipelines"][0]["execution_jobs"][0]["env"] = "own"
    return definition


def test_while_it_waits_for_cpus(sandbox: Sandbox, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    everything = {"resources": {"cpus": 10_000.0}}
    hang = {"type": "Hangs", "meta_name": "hang", "ready": str(ready), **everything}
    quick = {"type": "Returns", "meta_name": "quick", "value": 1, **everything}
    with sandbox.client() as client:
        first = client.submit_definition(sandbox.definition(hang))
        while not ready.exists():
            time.sleep(0.01)
        second = client.submit_definition(sandbox.definition(quick, work_dir=str(tmp_path / "other")))
        until(client, second, "cpus")
        (job,) = cancel(client, second)
        assert job.started is None
        assert client.show(first).experiment.state == "running"
        cancel(client, first)
        assert sandbox.run(quick).experiment.state == "succeeded", "the waiting job holds no cpus"


def test_while_its_env_is_built(sandbox: Sandbox, tmp_path: Path) -> None:
    started_building = tmp_path / "started_building"
    env = own_env(f"touch {started_building}; exec sleep 617")
    with sandbox.client() as client:
        id = client.submit_definition(in_own_env(sandbox, {"type": "Returns", "meta_name": "job", "value": 1}, env))
        while not started_building.exists():
            assert client.show(id).experiment.state in ("waiting", "running"), client.show(id).experiment.error
        cancel(client, id)
    assert [each for each in sandbox.processes() if "617" in each.cmdline()] == []


def test_while_its_worker_starts(sandbox: Sandbox, tmp_path: Path) -> None:
    gate, starting = tmp_path / "gate", tmp_path / "starting"
    code = f"import os, time; os.path.exists({str(gate)!r}) and (open({str(starting)!r}, 'w'), time.sleep(619))"
    (tmp_path / "slow.pth").write_text(code + "\n")
    env = own_env(f"cp {tmp_path / 'slow.pth'} $(python -c 'import site; print(site.getsitepackages()[0])')")
    job = {"type": "Returns", "meta_name": "job", "value": 1}
    with sandbox.client() as client:
        built = sandbox.wait(client, client.submit_definition(in_own_env(sandbox, job, env)))
        assert built.experiment.state == "succeeded", built.experiment.error
        gate.touch()
        id = client.submit_definition(in_own_env(sandbox, job | {"type": "Adds"}, env))
        while not starting.exists():
            assert client.show(id).experiment.state in ("waiting", "running"), client.show(id).experiment.error
        cancel(client, id)
        assert "starting" not in {row.state for row in client.workers()}


def test_in_the_pause_before_another_attempt(sandbox: Sandbox, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    job = {"type": "Fails", "meta_name": "job", "how": "raise", "counter": str(counter), "retries": 9}
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(job))
        until(client, id, "attempt 2 after a pause")
        cancel(client, id)
    assert counter.read_bytes() == b"."


def test_between_two_jobs_and_in_the_middle_of_them(sandbox: Sandbox) -> None:
    jobs = [{"type": "Returns", "meta_name": f"job{number}", "value": number} for number in range(200)]
    with sandbox.client() as client:
        for wanted in (1, 7, 8, 20, 33):
            id = client.submit_definition(sandbox.definition(*jobs))
            while client.show(id).experiment.jobs_done < wanted:
                time.sleep(0.01)
            done = [job.state for job in cancel(client, id)].count("succeeded")
            (iteration,) = client.show(id).iterations
            given = [entry["res_0"] for entry in iteration.context_infos["anonymous"]]
            assert given == list(range(done)), "exactly the succeeded jobs are recorded"
            assert "running" not in {row.state for row in client.workers()}
