"""Metrics from logs, one for each line, none lost: `python -m tests.bench.bench_logs`.

The delay of a metric at 1,000 and 10,000 lines per second; the lines per second that reach the store from a component
that prints 100,000 per second; and how many do while its log watcher is killed repeatedly.
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

from .figures import print_figure

SECONDS = 5


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder:
        os.environ.update(SANDBOX_HOME=str(Path(folder, "home")), WANDB_MODE="disabled")
        with Client(find_paths(), autostart=True) as client:
            try:
                follow(client, folder, 1_000, 1_000)  # builds the env
                for rate in (1_000, 10_000):
                    measure_delay(client, folder, rate)
                measure_throughput(client, folder, "lines a second to the store, from 100,000", do_nothing)
                measure_throughput(client, folder, "the same, while log watchers are killed", kill_log_watchers)
            finally:
                client.stop_daemon(now=True)


def measure_delay(client: Client, folder: str, rate: int) -> None:
    delays, _, _ = follow(client, folder, rate * SECONDS, rate)
    delays.sort()
    shown = f"{delays[len(delays) // 2] * 1e3:.0f} / {delays[int(len(delays) * 0.99)] * 1e3:.0f} ms"
    print_figure(
        f"line to subscriber at {rate:,}/s, p50 / p99",
        shown,
        f"{len(delays):,} of {rate * SECONDS:,} lines (goal: 100 ms)",
    )


def measure_throughput(client: Client, folder: str, what: str, meanwhile: Callable[[threading.Event], int]) -> None:
    ended = threading.Event()
    kills: list[int] = []
    helper = threading.Thread(target=lambda: kills.append(meanwhile(ended)))
    helper.start()
    delays, printed, took = follow(client, folder, 300_000, 100_000)
    ended.set()
    helper.join()
    note = f"{len(delays):,} of 300,000 lines, printed in {printed:.1f} s, {kills[0]} kills"
    print_figure(what, f"{len(delays) / took:,.0f}", note)


def follow(client: Client, folder: str, lines: int, rate: int) -> tuple[list[float], float, float]:
    """The delay of each line's metric, the seconds that printing took, and those until all metrics were received."""
    delays: list[float] = []
    steps: set[int | None] = set()
    first_written = 0.0
    id = client.submit_definition(experiment(folder, lines, rate))
    for changed in client.follow(id, interval=0.0):
        now = time.time()
        for row in changed.metrics:
            if row.name == "written":
                first_written = first_written or float(row.value or 0)
                delays.append(now - float(row.value or 0))
                steps.add(row.step)
    took = time.time() - first_written
    assert len(steps) == len(delays) == lines, f"{len(delays)} metrics of {len(steps)} lines, {lines} were printed"
    (printed,) = (entry["res_0"] for entry in client.show(id).iterations[0].context_infos["anonymous"])
    return delays, printed, took


def do_nothing(ended: threading.Event) -> int:
    ended.wait()
    return 0


def kill_log_watchers(ended: threading.Event) -> int:
    """Kill each about a second after its start, as often as the daemon replaces one within a minute."""
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
