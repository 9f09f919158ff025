"""Component envs, built once a test run from their specs, and processes in them that host one component each."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.components.models import training_runs

ROOT = Path(__file__).parents[2]
HOST = Path(__file__).with_name("host.py")


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One run of a component. `error` is `Class: message`; `watched` what a log watcher made of the log."""

    result: Any
    error: str | None
    log: str
    watched: list[Any]
    rss: int
    modules: list[str]
    cwd: str
    state: dict[str, Any]


class ComponentProcess:
    """A process in a component env that keeps its component warm, as a worker does."""

    def __init__(self, python: Path, target: str, cwd: Path) -> None:
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV")
        }
        environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [str(python), str(HOST), target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environ,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, config: dict[str, Any], *args: str) -> None:
        """Ask for a run without waiting for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"config": config, "args": args}) + "\n")
        self._process.stdin.flush()

    def run(self, config: dict[str, Any], *args: str) -> Ran:
        self.send(config, *args)
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, f"the process ended with status {self._process.wait()}"
        return Ran(**json.loads(answer))

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


Start = Callable[[str, str], ComponentProcess]


@pytest.fixture(scope="session")
def start_component(component_env: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """`start_component(env, "module:Class")` is a cold process; all of them end with the test run."""
    started: list[ComponentProcess] = []

    def start(env: str, target: str) -> ComponentProcess:
        process = ComponentProcess(component_env(env), target, tmp_path_factory.mktemp("cwd"))
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


@pytest.fixture(scope="session")
def trainer(start_component: Start) -> ComponentProcess:
    return start_component(training_runs.ENV, training_runs.TRAINER)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, start_component: Start) -> training_runs.Data:
    return training_runs.Data(tmp_path_factory.mktemp("data"), start_component)
