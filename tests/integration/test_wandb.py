"""The wandb exporter, with a real wandb in offline mode whose files are read back."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from envs.builder import build
from envs.specs import load_spec
from sandbox_actors.client.client import Client
from sandbox_actors.experiment.model import Resources

from .conftest import Sandbox

READ_BACK = """
import json, struct, sys
from wandb.proto import wandb_internal_pb2

def records(data):
    # LevelDB's log format: after a header of 7 bytes, blocks of 32 KiB with pieces of records in them.
    position, whole = 7, b""
    while position < len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield whole
            whole = b""

rows = []
for data in records(open(sys.argv[1], "rb").read()):
    record = wandb_internal_pb2.Record.FromString(data)
    if record.WhichOneof("record_type") == "history":
        items = record.history.item
        rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
print(json.dumps(rows))
"""


@pytest.fixture
def offline(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The environment of this test, which is forwarded with submissions, selects wandb in offline mode."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return sandbox


def train(**more: Any) -> dict[str, Any]:
    return {"type": "Trains", "hook": "TrainModelHook", "meta_name": "train", "steps": 30, **more}


def exporter(client: Client) -> Any:
    return next((row for row in client.workers() if row.component == "wandb-exporter"), None)


def wait_exported(client: Client) -> None:
    while (row := exporter(client)) is None or row.state != "idle":
        time.sleep(0.01)


def test_a_run_is_exported_to_wandb_with_every_point_of_its_metrics(offline: Sandbox) -> None:
    offline.run(train())
    with offline.client() as client:
        wait_exported(client)
    (path,) = (offline.cwd / "work" / "wandb").glob("offline-run-*/run-*.wandb")
    python = build(load_spec("wandb"), offline.home / "envs").python
    read = subprocess.run([python, "-c", READ_BACK, str(path)], capture_output=True, text=True, check=True)
    rows = [row for row in json.loads(read.stdout) if "loss" in row]
    assert [(row["step/loss"], row["loss"]) for row in rows] == [(n, round(1 / n, 4)) for n in range(1, 31)]


def test_a_killed_exporter_does_not_affect_the_experiment(offline: Sandbox, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with offline.client() as client:
        id = client.submit_definition(offline.definition(train(gate=str(gate))))
        while (row := exporter(client)) is None or row.state != "running":
            time.sleep(0.01)
        os.kill(row.pid, 9)
        while exporter(client) is not None:
            time.sleep(0.01)
        gate.touch()
        detail = offline.wait(client, id)
        assert detail.experiment.state == "succeeded"
        assert len(client.metrics(id, "loss")) == 30
    assert "the wandb export is incomplete" in (offline.home / "daemon.log").read_text()


def test_an_export_that_cannot_write_its_log_does_not_affect_the_daemon(offline: Sandbox) -> None:
    (offline.home / "experiments").mkdir(exist_ok=True)
    (offline.home / "experiments" / "1").touch()  # a file in the place of the folder of the experiment's record
    assert offline.run(train()).experiment.state == "failed"
    log = offline.home / "daemon.log"
    while "the wandb export is incomplete" not in log.read_text():
        time.sleep(0.01)
    assert offline.run(train()).experiment.state == "succeeded"


def test_an_experiment_has_an_exporter_when_a_job_of_it_has_what_it_waited_for(
    offline: Sandbox, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with offline.client() as client:
        busy = client.submit_definition(offline.definition(train(gate=str(gate), resources=Resources(cpus=64))))
        while (row := exporter(client)) is None or row.state != "running":
            time.sleep(0.01)
        waiting = [
            client.submit_definition(
                offline.definition(train(resources=Resources(cpus=64)), work_dir=str(tmp_path / f"work{number}"))
            )
            for number in range(4)
        ]
        while any("waits for" not in client.show(id).jobs[0].reason for id in waiting):
            time.sleep(0.01)
        assert [row.job for row in client.workers() if row.component == "wandb-exporter"] == [
            f"exports experiment {busy}"
        ]
        gate.touch()
        assert offline.wait(client, waiting[-1]).experiment.state == "succeeded"
        while not list((tmp_path / "work3" / "wandb").glob("offline-run-*/run-*.wandb")):
            time.sleep(0.01)


def test_an_experiment_succeeds_without_a_wandb_env(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    sandbox.stop()
    (sandbox.home / "envs").unlink()
    sandbox.environ |= {"UV_OFFLINE": "1", "UV_NO_CACHE": "1", "UV_NO_INDEX": "1"}
    sandbox.start()
    job = train()
    definition = sandbox.definition(job)
    python = build(load_spec("plain"), sandbox.cwd / "envs").path
    definition["experiment"]["pipelines"][0]["execution_jobs"][0]["env"] = python
    with sandbox.client() as client:
        detail = sandbox.wait(client, client.submit_definition(definition))
    assert detail.experiment.state == "succeeded", detail.experiment.error


def test_wandb_disabled_starts_no_exporter(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    sandbox.run(train())
    with sandbox.client() as client:
        assert exporter(client) is None
