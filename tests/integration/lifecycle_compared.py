"""A real daemon beside its model (`lifecycle_model.py`): what both are asked, and how they are compared."""

from __future__ import annotations

import itertools
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant

from sandbox_actors.client.client import Client
from sandbox_actors.protocol.client_requests import Submit
from sandbox_actors.protocol.frames import Request
from sandbox_actors.protocol.rows import ExperimentRow

from .conftest import Sandbox
from .impatient import ImpatientClient, unanswered
from .lifecycle_model import Model, Modelled

DEADLINE = 30.0
"""Seconds, for a machine under load."""

SAME, OTHER = "same", "other"
WORK_DIRS = {"same": SAME, "nowhere/../same": SAME, "link": SAME, "other": OTHER, "./other/": OTHER}
"""The names of two work_dirs: `link` is a link to the first one."""

KINDS: dict[str, dict[str, Any]] = {
    "quick": {},
    "gated": {"has_gate": True},
    "failing": {"fails": 1},
    "gated and failing": {"has_gate": True, "fails": 1},
}


class Compared(RuleBasedStateMachine):
    """The base of what takes steps. `is_up`: whether there is a daemon."""

    def __init__(self, envs: Path) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sb-"))
        cwd = self.folder / "cwd"
        cwd.mkdir()
        (cwd / "link").symlink_to("same")
        self.place = Sandbox(self.folder / "home", cwd, envs)
        self.place.start()
        self.model, self.is_up = Model(), True
        self._numbers, self._has_failed = itertools.count(1), False

    def teardown(self) -> None:
        try:
            if self._has_failed:
                return
            if not self.is_up:
                self.place.start()
                self.is_up = True
            for each in self.model.experiments.values():
                self.open(each)
            self.settle()
            self.agrees()
            with self.client() as client:
                for each in self.model.experiments.values():
                    self._check_record(client, each)
            self.place.stop()
            assert self.place.processes() == []
        finally:
            self.place.sweep()
            shutil.rmtree(self.place.paths.scratch.parent, ignore_errors=True)
            shutil.rmtree(self.folder)

    # --- what is compared ---

    @invariant()
    def agrees(self) -> None:
        if not self.is_up:
            return
        self.settle()
        wanted = {str(each.id): each.state for each in self.model.experiments.values()}
        with self.client() as client:
            self.until(lambda: states(client.experiments()) == wanted, lambda: differences(client, wanted))
            running = {id for id, state in wanted.items() if state == "running"}

            def at_work() -> set[str]:
                rows = [row for row in client.workers() if row.state == "running" and "-log-" not in row.worker]
                return {row.job.split()[0] for row in rows if row.job}

            self.until(lambda: at_work() == running, lambda: f"workers run {at_work()}, and not {running}")
        wanted_runs = {each.token: self.model.runs_of(each.token) for each in self.model.experiments.values()}
        self.until(lambda: self.runs() == +Counter(wanted_runs), lambda: f"{self.runs()} instead of {wanted_runs}")

    def _check_record(self, client: Client, each: Modelled) -> None:
        """Each run of its job has one metric of each kind, and each success one result."""
        detail = client.show(str(each.id))
        results = [entry for each in detail.iterations for entry in each.context_infos["anonymous"]]
        assert [entry["res_0"] for entry in results] == [each.token] * (each.state == "succeeded"), each
        for name in ("printed", "watched"):
            steps = [row.step for row in client.metrics(str(each.id), name)]
            assert len(steps) == len(set(steps)), (each, name, steps)
            whole = max(each.runs, each.state == "succeeded")
            # What a run has printed may not have been read yet when it is cancelled.
            least = whole if name == "watched" else int(each.state == "succeeded")
            assert least <= len(steps) <= whole, (each, name, steps)

    def runs(self) -> Counter[str]:
        path = self.place.cwd / "runs"
        return Counter(path.read_text().split() if path.exists() else [])

    # --- their means ---

    def client(self) -> ImpatientClient:
        return ImpatientClient(self.place)

    def ask(self, request: Request[Any]) -> Any:
        with self.client() as client:
            return client._connection.ask(request)

    def ask_twice(self, request: Request[Any]) -> list[Any]:
        """The answers, or what was refused, to two clients that ask the same."""
        answers: list[Any] = []
        both = threading.Barrier(2)

        def ask() -> None:
            with self.client() as client:
                both.wait()
                try:
                    answers.append(client._connection.ask(request))
                except Exception as error:
                    answers.append(error)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def submit_one(self, kind: str, work_dir: str = SAME, takes_over: bool = False) -> Modelled:
        return self.submitted(self.new(kind, work_dir, takes_over), self.ask)

    def ask_and_leave(self, request: Request[Any], dies: bool) -> None:
        """Ask without waiting for the answer, and perhaps kill the daemon then."""
        with unanswered(self.place, request):
            if dies:
                self.place.kill()
        if dies:
            self.place.start()

    def new(self, kind: str, work_dir: str, takes_over: bool = False) -> tuple[Modelled, Submit]:
        each = Modelled(0, f"job{next(self._numbers)}", WORK_DIRS[work_dir], takes_over=takes_over, **KINDS[kind])
        return each, self.submission(each, work_dir)

    def submission(self, each: Modelled, work_dir: str) -> Submit:
        job = {"type": "ticking:Notes", "hook": "TrainModelHook", "meta_name": "job", "token": each.token}
        job |= {"resources": {"cpus": 0.0}, "fails": each.fails, "runs": str(self.place.cwd / "runs")}
        if each.has_gate:
            job["gate"] = str(self._gate(each))
        definition = self.place.definition(job, experiment_name=each.token, work_dir=work_dir, resume=each.takes_over)
        key, environ = secrets.token_hex(8), {"WANDB_MODE": "disabled"}
        return Submit(key=key, definition=definition, source="", cwd=str(self.place.cwd), environ=environ)

    def submitted(self, new: tuple[Modelled, Submit], ask: Callable[[Submit], Any]) -> Modelled:
        each, request = new
        each.id = int(ask(request).experiment)
        self.model.submit(each)
        return each

    def _gate(self, each: Modelled) -> Path:
        return self.place.cwd / f"{each.token}.gate"

    def open(self, each: Modelled) -> None:
        if each.has_gate:
            self._gate(each).touch()
            for other in self.model.experiments.values():
                other.gate_is_open |= other.token == each.token

    def settle(self) -> None:
        if self.is_up:
            self.model.settle()

    def one_of(self, is_meant: Callable[[Modelled], bool], choice: int) -> Modelled | None:
        self.settle()
        found = [each for _, each in sorted(self.model.experiments.items()) if is_meant(each)]
        return found[choice % len(found)] if found else None

    def until(self, is_true: Callable[[], bool], what: Callable[[], str]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not is_true():
            if time.monotonic() >= deadline:
                self._has_failed = True
                raise AssertionError(what())
            time.sleep(0.01)


def states(rows: list[ExperimentRow]) -> dict[str, str]:
    return {row.id: row.state for row in rows}


def differences(client: Client, wanted: dict[str, Any]) -> str:
    rows = {row.id: row for row in client.experiments()}
    odd = [id for id in wanted | rows if id not in rows or rows[id].state != wanted.get(id)]
    return "\n".join(f"experiment {id} should be {wanted.get(id)}: {rows.get(id)}" for id in odd)
