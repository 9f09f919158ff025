"""A process that left its worker's tree, session, group and environment ends with it, whoever ends whom in which
order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from .conftest import Sandbox


class Stray:
    """The experiment of one job that leaves a stray, and the stray."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.file = sandbox, folder / "stray"
        self.id = ""
        self.process: psutil.Process | None = None

    def submit(self, then: str) -> None:
        definition = self.sandbox.definition({"type": "Any", "meta_name": "job", "stray": str(self.file), "then": then})
        (job,) = definition["experiment"]["pipelines"][0]["execution_jobs"]
        job["extra_configs"]["type"] = "hostile:LeavesStray"
        with self.sandbox.client() as client:
            self.id = client.submit_definition(definition)
        until(self.file.exists)
        self.process = psutil.Process(int(self.file.read_text()))

    def wait(self) -> str:
        with self.sandbox.client() as client:
            return self.sandbox.wait(client, self.id).experiment.state

    def worker(self) -> psutil.Process:
        with self.sandbox.client() as client:
            (pid,) = (row.pid for row in client.workers() if not row.component.endswith("-log"))
        return psutil.Process(pid)

    def is_alive(self) -> bool:
        assert self.process is not None
        with suppress(psutil.Error):
            return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
        return False


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def stray(sandbox: Sandbox, tmp_path: Path) -> Iterator[Stray]:
    made = Stray(sandbox, tmp_path)
    yield made
    if made.is_alive() and made.process is not None:
        made.process.kill()


def test_a_stray_is_what_it_claims_to_be(stray: Stray) -> None:
    stray.submit("returns")
    assert stray.wait() == "succeeded"
    assert stray.is_alive()
    assert stray.process is not None
    assert "SANDBOX" not in " ".join(stray.process.environ())
    assert stray.worker() not in stray.process.parents()
    assert os.getsid(stray.process.pid) == stray.process.pid


def test_it_ends_with_a_worker_that_is_stopped(stray: Stray) -> None:
    stray.submit("returns")
    assert stray.wait() == "succeeded"
    with stray.sandbox.client() as client:
        for row in client.workers():
            client.stop_worker(row.worker)
    until(lambda: not stray.is_alive())


def test_it_ends_with_a_worker_that_is_killed(stray: Stray) -> None:
    stray.submit("dies")
    assert stray.wait() == "failed"
    assert not stray.is_alive()


def test_it_ends_with_an_adopted_worker_that_is_killed(stray: Stray) -> None:
    stray.submit("waits")
    worker = stray.worker()
    stray.sandbox.kill()
    stray.sandbox.start()
    until(lambda: stray.worker().pid == worker.pid)
    assert stray.is_alive()
    worker.kill()
    assert stray.wait() == "failed"
    assert not stray.is_alive()


def test_the_next_daemon_ends_the_stray_of_a_worker_that_died_without_one(stray: Stray) -> None:
    stray.submit("waits")
    worker = stray.worker()
    stray.sandbox.kill()
    worker.kill()
    assert stray.is_alive()
    stray.sandbox.start()
    until(lambda: not stray.is_alive())
    assert stray.wait() == "failed"


def test_a_worker_that_finds_no_daemon_ends_its_stray_with_itself(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.stop()
    sandbox.environ["SANDBOX_GRACE"] = "0.2"
    sandbox.start()
    stray = Stray(sandbox, tmp_path)
    stray.submit("returns")
    assert stray.wait() == "succeeded"
    sandbox.kill()
    until(lambda: not stray.is_alive())
    sandbox.start()
