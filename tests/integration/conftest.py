"""A real daemon with its own home for each test; the envs are built once per test run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import listener
from sandbox_actors.home import HOME_VARIABLE
from sandbox_actors.protocol.process_mark import MARK
from sandbox_actors.protocol.rows import ExperimentDetail
from sandbox_actors.system.paths import find_paths

if TYPE_CHECKING:
    from .env_sandbox import EnvSandbox

FAULTY = str(Path(__file__).parent)


class Sandbox:
    """A home, its daemon, and what tests do with them. Relative paths are relative to `cwd`."""

    def __init__(self, home: Path, cwd: Path, envs: Path) -> None:
        self.home, self.cwd = home, cwd
        home.mkdir(mode=0o700)
        (home / "envs").symlink_to(envs)
        self.environ = {**os.environ, HOME_VARIABLE: str(home), "WANDB_MODE": "disabled", "NO_COLOR": "1"}
        self.paths = find_paths(self.environ)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.wrapper: list[str] = []

    def start(self, *program: str) -> None:
        """Start the daemon, or a `program` that runs it."""
        with (self.home / "daemon.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [*self.wrapper, sys.executable, *(program or ("-m", "sandbox_actors.daemon"))],
                env=self.environ,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
            )
        while True:
            assert self.daemon.poll() is None or program, (self.home / "daemon.log").read_text()
            if listener(self.paths.socket) is not None or self.daemon.poll() is not None:
                return
            time.sleep(0.01)

    def stop(self) -> None:
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.terminate()
            assert self.daemon.wait(30) == 0

    def kill(self) -> None:
        """Kill the daemon, so that it cannot clean up."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()

    def sweep(self) -> None:
        """Kill everything that a failed test has left."""
        if self.daemon is not None:
            self.kill()
        for process in self.processes():
            process.kill()

    def client(self) -> Client:
        return Client(self.paths, autostart=False)

    def definition(self, *jobs: dict[str, Any], **settings: Any) -> dict[str, Any]:
        """A frozen experiment of execution jobs. A job is `{type, meta_name, ...}`; other keys are its config. A `type`
        without a module is in `faulty`."""
        from sandbox_actors.experiment.model import Experiment, Job, Pipeline, freeze

        keys = set(Job.__struct_fields__)
        typed = [job | {"type": job["type"] if ":" in job["type"] else f"faulty:{job['type']}"} for job in jobs]
        made = [
            Job(
                hook=job.pop("hook", "GeneralDataExecutorHook"),
                extra_configs={key: value for key, value in job.items() if key not in keys},
                component_path=FAULTY,
                env="plain",
                **{key: value for key, value in job.items() if key in keys},
            )
            for job in typed
        ]
        names = {"project_name": "tests", "experiment_name": "test", "work_dir": str(self.cwd / "work"), **settings}
        return freeze(Experiment(pipelines=[Pipeline(name="anonymous", execution_jobs=made)], **names))

    def run(self, *jobs: dict[str, Any], **settings: Any) -> ExperimentDetail:
        """Run an experiment to its end."""
        with self.client() as client:
            return self.wait(client, client.submit_definition(self.definition(*jobs, **settings)))

    @staticmethod
    def wait(client: Client, id: str) -> ExperimentDetail:
        for _ in client.follow(id, interval=0.01):
            pass
        return client.show(id)

    def processes(self) -> list[psutil.Process]:
        """Everything alive that belongs to this home."""
        found = []
        for process in psutil.process_iter():
            try:
                environ = process.environ()
            except psutil.Error:
                continue
            if environ.get(MARK) and str(self.home) in " ".join(environ.values()):
                found.append(process)
        return found


@pytest.fixture
def sandbox(tmp_path: Path, shared_envs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setenv("WANDB_MODE", "disabled")  # as in `unserved`
    folder = Path(tempfile.mkdtemp(prefix="sb-"))  # pytest's own folders are too long for a socket address
    made = Sandbox(folder / "home", tmp_path, shared_envs)
    try:
        made.start()
        yield made
        made.stop()
        assert made.processes() == []
        assert not made.paths.scratch.parent.exists()
    finally:
        made.sweep()
        shutil.rmtree(made.paths.scratch.parent, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, shared_envs: Path) -> Iterator[Sandbox]:
    """One daemon for all tests of a module that leave it unchanged."""
    folder = Path(tempfile.mkdtemp(prefix="sb-"))
    made = Sandbox(folder / "home", tmp_path_factory.mktemp("cwd"), shared_envs)
    made.start()
    yield made
    made.stop()
    assert made.processes() == []
    shutil.rmtree(folder)


@pytest.fixture
def unserved(tmp_path: Path, shared_envs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A home without a daemon. One that a test starts is stopped."""
    monkeypatch.setenv("WANDB_MODE", "disabled")  # clients forward it, and an exporter would have its env built
    folder = Path(tempfile.mkdtemp(prefix="sb-"))
    made = Sandbox(folder / "home", tmp_path, shared_envs)
    try:
        yield made
        made.stop()
        if listener(made.paths.socket) is not None:
            from .commands import sandbox as command

            assert command(made, "daemon", "stop", "--now").returncode == 0
        assert made.processes() == []
    finally:
        made.sweep()
    shutil.rmtree(made.paths.scratch.parent, ignore_errors=True)  # of a daemon that was killed
    shutil.rmtree(folder)


@pytest.fixture
def env_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EnvSandbox]:
    monkeypatch.setenv("WANDB_MODE", "disabled")  # the exporter would need an env of its own
    from .env_sandbox import EnvSandbox

    folder = Path(tempfile.mkdtemp(prefix="sb-"))
    (tmp_path / "envs").mkdir()
    made = EnvSandbox(folder / "home", tmp_path, tmp_path / "envs")
    made.write_code(1)
    try:
        made.start()
        yield made
        made.stop()
        assert made.processes() == []
    finally:
        if made.daemon is not None:
            made.daemon.kill()
            made.daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)
