"""An innocent training, and everything else that reaches the awaits of its daemon (`injecting.py`).

An activity ends with `Raised` as soon as the armed point has raised: what becomes of it then is not its concern.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import listener
from sandbox_actors.errors import ActorStopped, ComponentFailed, DaemonUnreachable, Refused, SandboxError, StoreError
from sandbox_actors.protocol.client_requests import Changes, Submit
from sandbox_actors.protocol.rows import ENDED, WorkerRow

from .conftest import Sandbox
from .impatient import ImpatientClient, unanswered
from .injecting import Control, all_points

INJECTING = Path(__file__).with_name("injecting.py")
POINTS = all_points()
DEADLINE = 20.0
"""Seconds, for a machine under load."""

LEAK_SECONDS = 3.0
"""A worker that is still in use for nobody after so many seconds has leaked."""

PLACES_OF_JOBS = (("", " "), ("follows run ", "."))


class Raised(Exception):
    """The armed point has raised."""


def until(is_true: Callable[[], Any], what: str | Callable[[], str]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not is_true():
        if time.monotonic() >= deadline:
            raise AssertionError(what if isinstance(what, str) else what())
        time.sleep(0.01)


class Disturbed:
    """A home whose daemon has points that can be armed."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self._path = sandbox, sandbox.home / "control"
        self.control = Control(self._path, len(POINTS))
        self.leaked: list[str] = []
        self._numbers = itertools.count(1)
        self.open_gate = self.fresh("open")
        self.open_gate.touch()
        self.start()

    def fresh(self, name: str) -> Path:
        return self.sandbox.cwd / f"{name}-{next(self._numbers)}"

    # --- its daemon ---

    def start(self) -> None:
        """Returns when it listens or has ended."""
        self.sandbox.start(str(INJECTING), str(self._path))

    @contextmanager
    def client(self) -> Iterator[Client]:
        with ImpatientClient(self.sandbox) as client:
            yield client

    def on_this_or_the_next_daemon(self, check: Callable[[Client], None]) -> None:
        """If this daemon ends, start the next one and check again; and if the error was met only now."""
        try:
            with self.client() as client:
                try:
                    check(client)
                except (ComponentFailed, StoreError) as error:
                    if "injected" not in str(error):
                        raise
                    check(client)
        except (DaemonUnreachable, ActorStopped):
            assert self.sandbox.daemon is not None
            self.sandbox.daemon.wait(DEADLINE)
            self.start_next()
            with self.client() as client:
                check(client)

    def start_next(self) -> None:
        self.control.disarm()
        self.start()
        assert listener(self.sandbox.paths.socket) is not None, "the next daemon does not start"

    def renew(self) -> None:
        """After something broke: end the daemon and all that it has left."""
        self.sandbox.sweep()
        self.start_next()
        with self.client() as client:
            for row in client.experiments():
                with suppress(SandboxError):
                    if row.state not in ENDED:
                        client.cancel(row.id)

    def assert_serves(self, client: Client, *innocent: str) -> None:
        """Of what was started on the way nothing is left but the `innocent`, and everything works as before. Workers
        that are in use for nobody are added to `leaked`, and can be stopped."""
        for row in client.experiments():
            if row.state not in ENDED and row.id not in innocent:
                with suppress(Refused):  # it has ended just now
                    client.cancel(row.id)
                self._until_ended(client, row.id)
        cpus = float(len(os.sched_getaffinity(0)))
        probe = self.submit(client, returns("probe", resources={"cpus": cpus}))
        self._until_ended(client, probe)
        assert client.show(probe).experiment.state == "succeeded", client.show(probe).experiment.error

        deadline = time.monotonic() + LEAK_SECONDS
        while leaked := [row for row in client.workers() if row.state != "idle" and not is_of(row, innocent)]:
            if time.monotonic() >= deadline:
                self.leaked += [f"{row.worker}: {client.stop_worker(row.worker, force=True)}" for row in leaked]
            time.sleep(0.01)

    def _until_ended(self, client: Client, id: str) -> None:
        until(
            lambda: client.show(id).experiment.state in ENDED,
            lambda: f"it does not end: {client.show(id).experiment}, {client.show(id).jobs}",
        )

    # --- experiments ---

    def ticks(self, gate: Path, **more: Any) -> dict[str, Any]:
        job = {"type": "ticking:Ticks", "hook": "TrainModelHook", "meta_name": "train", "gate": str(gate)}
        return {**job, "resources": {"cpus": 0.0}, **more}

    def endless(self, **more: Any) -> dict[str, Any]:
        return self.ticks(self.fresh("never"), **more)

    def definition(self, *jobs: dict[str, Any], work_dir: str = "", **settings: Any) -> dict[str, Any]:
        place = self.sandbox.cwd / work_dir if work_dir else self.fresh("work")
        return self.sandbox.definition(*jobs, work_dir=str(place), **settings)

    def submit(self, client: Client, *jobs: dict[str, Any], **settings: Any) -> str:
        return client.submit_definition(self.definition(*jobs, **settings))

    def run(self, client: Client, *jobs: dict[str, Any], **settings: Any) -> str:
        """Run an experiment to its end; its state."""
        return self.end(client, self.submit(client, *jobs, **settings))

    def end(self, client: Client, id: str) -> str:
        self.until(lambda: client.show(id).experiment.state in ENDED, f"experiment {id} does not end")
        return client.show(id).experiment.state

    def until(self, is_true: Callable[[], Any], what: str) -> None:
        """Raises Raised where the armed point has raised meanwhile."""

        def is_true_or_raised() -> bool:
            if self.control.has_raised:
                raise Raised
            return bool(is_true())

        until(is_true_or_raised, what)


def is_of(row: WorkerRow, experiments: Collection[str]) -> bool:
    """Whether a worker runs a job of one of the experiments, or follows its log."""
    return row.job.startswith(tuple(f"{prefix}{id}{end}" for id in experiments for prefix, end in PLACES_OF_JOBS))


def returns(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "Returns", "meta_name": name, "value": 1, **more}


class Innocent:
    """A training that nothing may disturb: its worker, and the metrics that were seen of it."""

    def __init__(self, place: Disturbed, client: Client) -> None:
        self.gate, self.work_dir = place.fresh("gate"), place.fresh("innocent").name
        self.id = place.submit(client, place.ticks(self.gate), work_dir=self.work_dir)
        self._seen = dict.fromkeys(("printed", "watched"), 0)
        until(lambda: client.metrics(self.id, "printed"), "the training does not begin")
        (row,) = (row for row in client.workers() if row.job.startswith(f"{self.id} "))
        self.worker = psutil.Process(row.pid)

    def assert_undisturbed(self, client: Client) -> None:
        """It runs where it ran before, and each of its metrics has come once since the last look."""
        detail = client.show(self.id)
        assert detail.experiment.state == "running", detail.experiment.error or detail.experiment.state
        assert self.worker.is_running(), "its worker is dead"
        (job,) = detail.jobs
        assert (job.state, job.attempt) == ("running", 1), job
        for name in self._seen:
            until(lambda name=name: len(client.metrics(self.id, name)) > self._seen[name], f"no more {name} metrics")
            self._look(client, name)

    def assert_complete(self, client: Client) -> None:
        """It has ended with one result, that of its only attempt, and each metric is there once."""
        detail = client.show(self.id)
        assert detail.experiment.state == "succeeded", detail.experiment.error
        (job,) = detail.jobs
        assert (job.state, job.attempt) == ("succeeded", 1), job
        (entry,) = detail.iterations[0].context_infos["anonymous"]
        assert entry["res_0"] == self.worker.pid
        for name in self._seen:
            self._look(client, name)
        assert set(self._seen.values()) == {entry["res_1"]}, (self._seen, entry)

    def _look(self, client: Client, name: str) -> None:
        steps = [row.step for row in client.metrics(self.id, name)]
        assert steps == list(range(1, len(steps) + 1)), f"{name}: {lost_or_doubled(steps)}"
        self._seen[name] = len(steps)


def lost_or_doubled(steps: list[int | None]) -> str:
    """The first of the steps that do not follow each other."""
    return next(
        f"{before} is followed by {step}" for before, step in itertools.pairwise([0, *steps]) if step != before + 1
    )


# --- what reaches the awaits of a daemon ---


def waiting(place: Disturbed, client: Client, innocent: Innocent) -> None:
    """What happens by itself."""
    end = time.monotonic() + 1.5
    place.until(lambda: time.monotonic() > end, "the time stands still")


def reading(place: Disturbed, client: Client, innocent: Innocent) -> None:
    client.status()
    client.experiments()
    client.workers()
    client.metrics(innocent.id, "printed")
    client.read_log(innocent.id, wait=0.1)
    client._connection.ask(Changes(experiment=innocent.id, after=10**9, wait=0.1))
    next(iter(client.follow(innocent.id)))
    client.forecast(place.definition(place.ticks(place.open_gate), returns("large", value="x" * 100_000)))


def training(place: Disturbed, client: Client, innocent: Innocent) -> None:
    train = place.ticks(place.open_gate, resources={"cpus": 1.0, "memory": 2**40}, timeout=600.0)
    assert place.run(client, train, returns("job")) == "succeeded"


def iterating(place: Disturbed, client: Client, innocent: Innocent) -> None:
    settings = {"max_iter_num": 2, "iter_targets": ["anonymous.job.res_0 == 2"], "work_dir": place.fresh("work").name}
    assert place.run(client, returns("job"), **settings) == "succeeded"
    assert place.run(client, returns("job"), **settings, resume=True) == "succeeded"


def cancelling(place: Disturbed, client: Client, innocent: Innocent) -> None:
    greedy = place.endless(resources={"cpus": 10_000.0})
    at_work, greedy_at_work = place.submit(client, place.endless()), place.submit(client, greedy)
    in_queue, starved = place.submit(client, greedy, work_dir=innocent.work_dir), place.submit(client, greedy)
    for id in (at_work, greedy_at_work):
        place.until(lambda id=id: client.show(id).jobs[0].worker, "it does not start")
    place.until(lambda: "waits" in client.show(starved).jobs[0].reason, "it does not wait")
    for id in (starved, in_queue, at_work, greedy_at_work):
        assert client.cancel(id).state == "cancelled"
    client.resume(at_work)
    assert client.cancel(at_work).state == "cancelled"


def stopping(place: Disturbed, client: Client, innocent: Innocent) -> None:
    id = place.submit(client, place.endless())
    place.until(lambda: client.metrics(id, "printed"), "it does not start")
    idle = [row.worker for row in client.workers() if row.state == "idle"]
    for worker in (client.show(id).jobs[0].worker, *idle[:1]):
        client.stop_worker(worker, force=True)
    assert place.end(client, id) == "failed"


def failing(place: Disturbed, client: Client, innocent: Innocent) -> None:
    fail = {"type": "Fails", "meta_name": "fail", "how": "raise", "times": 1}
    assert place.run(client, {**fail, "counter": str(place.fresh("counter")), "retries": 1}) == "succeeded"
    id = place.submit(client, {**fail, "counter": str(place.fresh("counter"))})
    assert place.end(client, id) == "failed"
    client.resume(id)
    assert place.end(client, id) == "succeeded"
    assert place.run(client, place.endless(timeout=0.1)) == "failed"


def leaving(place: Disturbed, client: Client, innocent: Innocent) -> None:
    definition = place.definition(place.ticks(place.open_gate), experiment_name="left")
    submit = Submit(definition=definition, source="", cwd=str(place.sandbox.cwd))
    with unanswered(place.sandbox, Changes(experiment=innocent.id, after=10**9, wait=60.0), submit):
        place.until(lambda: client.experiments()[0].name == "left", "it is not stored")
    assert place.end(client, client.experiments()[0].id) == "succeeded"


def building(place: Disturbed, client: Client, innocent: Innocent) -> None:
    for last in ("exit 1", "exec sleep 611"):
        started = place.fresh("started")
        env = {"own": {"manager": "uv", "post_install": [f"touch {started}; {last}"]}}
        definition = place.definition(returns("job"), envs=env)
        definition["experiment"]["pipelines"][0]["execution_jobs"][0]["env"] = "own"
        id = client.submit_definition(definition)
        place.until(started.exists, "it is not built")
        if last == "exit 1":
            assert place.end(client, id) == "failed"
        else:
            assert client.cancel(id).state == "cancelled"


Activity = Callable[[Disturbed, Client, Innocent], None]
ACTIVITIES: list[Activity] = [
    *(waiting, reading, training, iterating, cancelling, stopping, failing, leaving, building),
]
