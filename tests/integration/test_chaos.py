"""Daemon, workers and log watchers are killed at random while experiments run: nothing acknowledged is lost or doubled.

SANDBOX_CHAOS_KILLS is the number of kills of each, SANDBOX_CHAOS_SEED repeats a failed run.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

from sandbox_actors.client.client import Client
from sandbox_actors.errors import DaemonUnreachable
from sandbox_actors.protocol.rows import ExperimentDetail

from .conftest import Sandbox

KILLS = int(os.environ.get("SANDBOX_CHAOS_KILLS", "100"))
SEED = int(os.environ.get("SANDBOX_CHAOS_SEED", str(random.randrange(2**32))))
STEPS = 8
AT_ONCE = 5
"""Experiments that run at the same time."""

DEADLINE = 180.0
"""Seconds that the remaining experiments have to end after the last kill."""


class Journal(threading.Thread):
    """A client that keeps submitting experiments, and records the acknowledged ones: IDs by name."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self._sandbox = sandbox
        self.acknowledged: dict[str, str] = {}
        self.is_over = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        numbers = itertools.count(1)
        while not self.is_over.is_set():
            try:
                with self._sandbox.client() as client:
                    while not self.is_over.is_set():
                        self._submit(client, f"chaos-{next(numbers)}")
            except DaemonUnreachable:
                time.sleep(0.01)  # the daemon was killed: the current submission was not acknowledged
            except BaseException as error:
                self.error = error
                raise

    def _submit(self, client: Client, name: str) -> None:
        while sum(row.state in ("waiting", "running") for row in client.experiments()) >= AT_ONCE:
            time.sleep(0.02)
        job = {"type": "Chaotic", "hook": "TrainModelHook", "meta_name": "train", "steps": STEPS, "retries": 100}
        work_dir = str(self._sandbox.cwd / name)
        definition = self._sandbox.definition(job, experiment_name=name, work_dir=work_dir)
        self.acknowledged[name] = client.submit_definition(definition)


def victims(sandbox: Sandbox, kind: str) -> list[psutil.Process]:
    found = []
    for process in sandbox.processes():
        try:
            if any(re.fullmatch(kind, part) for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue  # has ended in the meantime
    return found


def kill_one(sandbox: Sandbox, kind: str, chance: random.Random) -> int:
    """Kill one process of a kind, if there is one; returns how many were killed."""
    for process in chance.sample(found := victims(sandbox, kind), min(1, len(found))):
        try:
            process.kill()
        except psutil.Error:
            return 0
        return 1
    return 0


def test_no_acknowledged_experiment_is_lost_or_doubled_by_any_kill(sandbox: Sandbox) -> None:
    print(f"SANDBOX_CHAOS_SEED={SEED}")
    sandbox.stop()
    sandbox.environ["SANDBOX_RETRY_DELAY"] = "0.001"
    sandbox.start()
    chance, killed = random.Random(SEED), Counter[str]()
    journal = Journal(sandbox)
    journal.start()
    try:
        while min(killed[each] for each in ("daemon", "worker", "log watcher")) < KILLS:
            assert journal.is_alive(), journal.error
            time.sleep(chance.random() * 0.2)  # kill at a random moment
            if killed["daemon"] < KILLS:
                sandbox.kill()
                sandbox.start()
                killed["daemon"] += 1
            for name, kind in (("worker", r"chaotic-\d+"), ("log watcher", r"chaotic-log-\d+")):
                time.sleep(chance.random() * 0.1)
                killed[name] += kill_one(sandbox, kind, chance) if killed[name] < KILLS else 0
    finally:
        journal.is_over.set()
        journal.join()
    with sandbox.client() as client:
        wait_for_all(client)
        rows = client.experiments()
        names = Counter(row.name for row in rows)
        assert max(names.values()) == 1
        assert {row.name: row.id for row in rows if row.name in journal.acknowledged} == journal.acknowledged
        for row in rows:
            check(client, client.show(row.id))
        assert list((sandbox.home / "runs").iterdir()) == []
        print(f"{dict(killed)} killed, {len(rows)} experiments, {len(journal.acknowledged)} acknowledged")


def wait_for_all(client: Client) -> None:
    deadline = time.monotonic() + DEADLINE
    while left := [row for row in client.experiments() if row.state in ("waiting", "running")]:
        assert time.monotonic() < deadline, [client.show(row.id).jobs for row in left]
        time.sleep(0.05)


def check(client: Client, detail: ExperimentDetail) -> None:
    """One result, and every metric of its attempt once; for killed attempts, no metric twice, and one for each line
    that they printed."""
    assert detail.experiment.state == "succeeded", detail.experiment.error
    (job,) = detail.jobs
    ((entry,),) = (iteration.context_infos["anonymous"] for iteration in detail.iterations)
    steps = list(range(1, STEPS + 1))
    for name in ("printed", "watched"):
        rows = client.metrics(detail.experiment.id, name)
        assert [row.step for row in rows if row.value == entry["res_0"]] == steps, (name, job)
        assert max(Counter((row.value, row.step) for row in rows).values()) == 1, (name, job)
    logs = Path(job.log).parent.glob(f"{job.index}.*.log")
    lines = [line for log in logs for line in log.read_text().splitlines() if re.fullmatch(r"step \w{32} \d", line)]
    recorded = Counter(f"step {row.value} {row.step}" for row in client.metrics(detail.experiment.id, "printed"))
    assert recorded == Counter(lines), job
