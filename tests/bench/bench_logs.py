"""From log to subscriber, each line a metric, each of them counted: `python -m tests.bench.bench_logs`.

How late a metric is seen, at 1,000 and 10,000 lines a second; how many lines a second reach the store from a component
that prints 100,000 a second; and how many while its log watcher is killed again and again.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox_actors.client.client import Client
from sandbox_actors.experiment.model import Experiment, Job, Pipeline, freeze
from sandbox_actors.system.paths import find_paths

from .bench_system import tell

SECONDS = 5


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder:
        os.environ.update(SANDBOX_HOME=str(Path(folder, "home")), WANDB_MODE="disabled")
        with Client(find_paths(), autostart=True) as client:
            try:
                follow(client, folder, 1_000, 1_000)  # builds the env
                for rate in (1_000, 10_000):
                    tell_lateness(client, folder, rate)
                tell_speed(client, folder, "lines a second to the store, from 100,000", nothing)
                tell_speed(client, folder, "the same, log watchers killed all the time", kill_log_watchers)
            finally:
                client.stop_daemon(now=True)


def tell_lateness(client: Client, folder: str, rate: int) -> None:
    late, _, _ = follow(client, folder, rate * SECONDS, rate)
    late.sort()
    shown = f"{late[len(late) // 2] * 1e3:.0f} / {late[int(len(late) * 0.99)] * 1e3:.0f} ms"
    tell(
        f"line to subscriber at {rate:,}/s, p50 / p99",
        shown,
        f"{len(late):,} of {rate * SECONDS:,} lines (goal: 100 ms)",
    )


def tell_speed(client: Client, folder: str, what: str, meanwhile: Callable[[threading.Event], int]) -> None:
    ended = threading.Event()
    kills: list[int] = []
    helper = threading.Thread(target=lambda: kills.append(meanwhile(ended)))
    helper.start()
    late, printed, took = follow(client, folder, 300_000, 100_000)
    ended.set()
    helper.join()
    note = f"{len(late):,} of 300,000 lines, printed in {printed:.1f} s, {kills[0]} kills"
    tell(what, f"{len(late) / took:,.0f}", note)


def follow(client: Client, folder: str, lines: int, rate: int) -> tuple[list[float], float, float]:
    """How late each line's metric was seen, the seconds that printing took, and those until all were seen."""
    late: list[float] = []
    steps: set[int | None] = set()
    begun = 0.0
    id = client.submit_definition(experiment(folder, lines, rate))
    for changed in client.follow(id, interval=0.0):
        now = time.time()
        for row in changed.metrics:
            if row.name == "written":
                begun = begun or float(row.value or 0)
                late.append(now - float(row.value or 0))
                steps.add(row.step)
    took = time.time() - begun
    assert len(steps) == len(late) == lines, f"{len(late)} metrics of {len(steps)} lines, {lines} were printed"
    (printed,) = (entry["res_0"] for entry in client.show(id).iterations[0].context_infos["anonymous"])
    return late, printed, took


def nothing(ended: threading.Event) -> int:
    ended.wait()
    return 0


def kill_log_watchers(ended: threading.Event) -> int:
    """Kill each a second after it was first seen, as often as is allowed in a minute."""
    killed: set[int] = set()
    with Client(find_paths(), autostart=False) as client:
        while not ended.wait(1.0) and len(killed) < 5:
            for row in client.workers():
                if row.component.endswith("-log") and row.state == "running":
                    os.kill(row.pid, signal.SIGKILL)
                    killed.add(row.pid)
    return len(killed)


def experiment(folder: str, lines: int, rate: int) -> dict[str, Any]:
    job = Job(
        hook="TrainModelHook",
        meta_name="print",
        env="plain",
        component_path=str(Path(__file__).parent),
        extra_configs={"type": "printing:Prints", "lines": lines, "rate": rate},
    )
    pipeline = Pipeline(name="anonymous", execution_jobs=[job])
    names = {"project_name": "bench", "experiment_name": "prints", "work_dir": str(Path(folder, "work"))}
    return freeze(Experiment(pipelines=[pipeline], **names))


if __name__ == "__main__":
    main()
