"""The `sandbox` command as a process, and experiment files for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .conftest import FAULTY, Sandbox

COMMAND = [sys.executable, "-c", "import sys; from sandbox_actors.cli import main; sys.exit(main())"]
ROOT = Path(__file__).parents[2]
LIMIT = 60.0


def environ_of(place: Sandbox) -> dict[str, str]:
    return {**place.environ, "PYTHONPATH": str(ROOT)}


def sandbox(place: Sandbox, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=place.cwd,
        env={**environ_of(place), **environ},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def job(type: str, meta_name: str, hook: str = "GeneralDataExecutorHook", **config: Any) -> dict[str, Any]:
    known = {"hook": hook, "meta_name": meta_name, "env": "plain", "component_path": FAULTY}
    return {**known, "extra_configs": {"type": f"faulty:{type}", **config}}


def training(**config: Any) -> dict[str, Any]:
    return job("Trains", "train", "TrainModelHook", **{"steps": 5, **config})


def write(place: Sandbox, name: str, **pipelines: list[dict[str, Any]]) -> str:
    """Write an experiment file of this name; its path relative to the current folder of the commands."""
    lists = [{pipeline: {"execution_job_configs": jobs}} for pipeline, jobs in pipelines.items()]
    document = {"project_name": "tests", "experiment_name": name, "work_dir": f"out/{name}", "pipelines": lists}
    (place.cwd / f"{name}.json").write_text(json.dumps(document))
    return f"{name}.json"


def documents(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def until_metric(place: Sandbox, file: str, then: Callable[[subprocess.Popen[str]], object]) -> tuple[int, str]:
    """Run a file until its first metric, call `then` with the running command; its exit status and its stderr."""
    with subprocess.Popen(
        [*COMMAND, "run", "--json", file],
        cwd=place.cwd,
        env=environ_of(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        next(line for line in run.stdout if json.loads(line)["event"] == "metric")
        then(run)
        _, stderr = run.communicate(timeout=LIMIT)
    return run.returncode, stderr
