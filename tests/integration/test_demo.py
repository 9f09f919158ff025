"""The demo, run as the README says: with Data-Juicer and torch, training a real model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from .conftest import Sandbox

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(sandbox: Sandbox) -> Sandbox:
    (sandbox.cwd / "configs").symlink_to(ROOT / "configs")
    return sandbox


def run(place: Sandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox_actors", *arguments]
    environ = {**place.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=place.cwd, env=environ, capture_output=True, text=True, timeout=600)


def demo(place: Sandbox) -> tuple[str, float]:
    """Run the demo; returns its output, and the seconds that it took."""
    started = time.monotonic()
    ran = run(place, "run", "configs/demo/sandbox.yaml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout, time.monotonic() - started


def shown(place: Sandbox, *arguments: str) -> Any:
    return json.loads(run(place, *arguments, "--json").stdout)


def test_a_warm_run_of_the_demo_has_exactly_the_results_of_a_cold_run(place: Sandbox) -> None:
    table, _ = demo(place)
    cold = shown(place, "show", "@")
    for row in ("samples_kept", "train.tokens", "final_loss", "perplexity", "seconds", "actors"):
        assert row in table, f"the final table has no row {row}"

    demo(place)
    warm = shown(place, "show", "@")
    assert warm["iterations"] == cold["iterations"]
    assert all(job["warm"] for job in warm["jobs"]), "every actor of the first run is still warm"
    for name in ("loss", "final_loss", "perplexity", "samples_kept"):
        first, second = (
            [(row["pipeline"], row["value"]) for row in shown(place, "metrics", experiment, name)]
            for experiment in ("@~1", "@")
        )
        assert first == second
        assert first, f"there is no metric {name}"

    logged = sum(run(place, "logs", "@", f"{each}.train").stdout.count('"loss"') for each in ("baseline", "refined"))
    losses = shown(place, "metrics", "@", "loss")
    assert len(losses) == logged, "as many points as the trainings have logged"
    for pipeline in ("baseline", "refined"):
        curve = [row["value"] for row in losses if row["pipeline"] == pipeline]
        assert curve[-1] < curve[0] - 0.5, "the loss falls"


def test_the_daemon_imports_no_heavy_library_and_idles_after_the_demo(place: Sandbox) -> None:
    demo(place)
    status = shown(place, "daemon", "status")
    daemon = psutil.Process(status["pid"])
    mapped = " ".join(region.path for region in daemon.memory_maps())
    assert not any(name in mapped for name in ("torch", "pandas", "numpy", "pyarrow", "wandb"))
    before = sum(daemon.cpu_times()[:2])
    daemon.cpu_percent(interval=2.0)  # measures for two seconds
    assert sum(daemon.cpu_times()[:2]) - before < 0.1, "seconds of CPU in two seconds without work"


def test_a_killed_trainer_fails_its_job_and_finished_jobs_are_kept(place: Sandbox) -> None:
    command = [sys.executable, "-m", "sandbox_actors", "run", "configs/demo/sandbox.yaml"]
    environ = {**place.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(command, cwd=place.cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with place.client() as client, running:
        trainer = None
        while trainer is None:
            assert running.poll() is None
            rows = client.experiments()
            losses = client.metrics(rows[0].id, "loss") if rows else []
            trainers = [row for row in client.workers() if row.component == "transformers-train-executor"]
            trainer = trainers[0] if losses and trainers else None
        os.kill(trainer.pid, 9)
        assert running.wait(60) == 1
        detail = client.show("@")
    train = next(job for job in detail.jobs if job.meta_name == "train")
    assert "was ended by SIGKILL without delivering a result" in train.error
    assert [entry["meta_name"] for entry in detail.iterations[0].context_infos["baseline"]] == ["corpus", "tokenizer"]
