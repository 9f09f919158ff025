"""The time that faults cost: `python -m tests.bench.bench_faults [--quick]`. Each figure is printed with its goal."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import listener
from sandbox_actors.experiment.model import Experiment, Job, Pipeline, Resources, freeze
from sandbox_actors.protocol.rows import ExperimentDetail
from sandbox_actors.system.paths import find_paths
from tests.bench.figures import print_figure

COMPONENTS = Path(__file__).parents[1] / "integration"
ERRING = COMPONENTS / "erring.py"
DEADLINE = 120.0
HOOKS = {"Counts": "TrainModelHook"}


class Home:
    """A daemon that is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "SANDBOX_HOME": str(folder / "home"), "WANDB_MODE": "disabled"}
        self.paths = find_paths(self.environ)

    def start(self, *program: str) -> None:
        """Start the daemon, or a `program` that runs it."""
        self.paths.home.mkdir(mode=0o700, exist_ok=True)
        with self.paths.daemon_log.open("ab") as log:
            command = [sys.executable, *(program or ("-m", "sandbox_actors.daemon"))]
            self.daemon = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log)
        until(lambda: listener(self.paths.socket) is not None)

    def kill(self) -> None:
        self.daemon.kill()
        self.daemon.wait()

    def client(self) -> Client:
        return Client(self.paths, autostart=False)

    def run(self, *jobs: dict[str, Any], parallel: bool = False) -> ExperimentDetail:
        with self.client() as client:
            id = client.submit_definition(self.definition(*jobs, parallel=parallel))
            for _ in client.follow(id, interval=0.01):
                pass
            return client.show(id)

    def definition(
        self, *jobs: dict[str, Any], parallel: bool = False, work_dir: str = "work", cpus: float | None = None
    ) -> dict[str, Any]:
        """A frozen experiment; with `parallel`, each job has its own pipeline. `cpus` is what each job asks for."""
        made = [
            Job(
                hook=HOOKS.get(job["type"], "GeneralDataExecutorHook"),
                meta_name=f"job{number}",
                env="plain",
                component_path=str(COMPONENTS),
                extra_configs={**job, "type": f"faulty:{job['type']}"},
                resources=Resources(cpus=cpus),
            )
            for number, job in enumerate(jobs)
        ]
        parts = [[job] for job in made] if parallel else [made]
        pipelines = [Pipeline(name=f"p{number}", execution_jobs=part) for number, part in enumerate(parts)]
        names = {"project_name": "bench", "experiment_name": "faults", "work_dir": str(self.folder / work_dir)}
        return freeze(Experiment(pipelines=pipelines, parallel=parallel, **names))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the repetitions")
    share = 5 if parser.parse_args().quick else 1
    os.environ["WANDB_MODE"] = "disabled"
    with tempfile.TemporaryDirectory(prefix="sb-bench-") as folder:
        home = Home(Path(folder))
        home.start()
        try:
            home.run({"type": "Returns", "value": 0})  # builds the env
            measure_jobs(home, 500 // share)
            measure_restart(home, 20 // share)
            measure_detection(home, 20 // share)
            measure_adoption(home, 200 // share)
            measure_error(home, 10 // share)
            measure_waiting(home, 400 // share)
            measure_queue(home, 1000 // share)
        finally:
            home.daemon.terminate()
            home.daemon.wait()


def measure_jobs(home: Home, count: int) -> None:
    """Jobs in sequence: each result is durable before the next job starts."""
    started = time.perf_counter()
    home.run(*({"type": "Returns", "value": number} for number in range(count)))
    print_figure(
        "committed jobs a second",
        f"{count / (time.perf_counter() - started):.0f}",
        f"{count} in sequence, by one warm actor",
    )


def measure_restart(home: Home, count: int) -> None:
    """The time from the start of a daemon, after SIGKILL, until a submission is durable and acknowledged."""
    taken = []
    for _ in range(count):
        home.kill()
        started = time.perf_counter()
        home.start()
        with home.client() as client:
            id = client.submit_definition(home.definition({"type": "Returns", "value": 1}))
            taken.append(time.perf_counter() - started)
            for _ in client.follow(id, interval=0.01):
                pass
    print_figure("restart to first committed answer, p50 / p99", quantiles(taken), f"{count} restarts (goal: p99 2 s)")


def measure_detection(home: Home, count: int) -> None:
    """The time from SIGKILL of a running worker until a client sees the failure of its job."""
    taken = []
    for number in range(count):
        ready = home.folder / f"ready{number}"
        with home.client() as client:
            id = client.submit_definition(home.definition({"type": "Hangs", "ready": str(ready)}))
            until(ready.exists)
            (row,) = (row for row in client.workers() if row.component == "hangs" and row.state == "running")
            os.kill(row.pid, signal.SIGKILL)
            started = time.perf_counter()
            until(lambda client=client, id=id: client.show(id).experiment.state == "failed")  # type: ignore[misc]
            taken.append(time.perf_counter() - started)
    print_figure("kill of a worker to its job's failure, p50 / p99", quantiles(taken), f"{count} kills (goal: p99 1 s)")


def measure_adoption(home: Home, count: int) -> None:
    """The time from the start of a daemon, after SIGKILL, until all its workers are idle and warm again."""
    home.run(*({"type": "Loads", "model": str(number)} for number in range(count)))
    with home.client() as client:
        until(lambda: {row.state for row in client.workers()} == {"idle"})  # surplus workers have been evicted
        before = {row.pid for row in client.workers()}
    home.kill()
    started = time.perf_counter()
    home.start()
    with home.client() as client:
        until(lambda: {row.state for row in client.workers()} == {"idle"})
        seconds = time.perf_counter() - started
        after = {row.pid for row in client.workers()}
    assert after == before
    assert all(psutil.pid_exists(pid) for pid in after)
    print_figure(f"adoption of {len(after)} workers", f"{seconds:.2f} s", "from the start of the daemon (goal: 5 s)")


def measure_error(home: Home, count: int) -> None:
    """The time from an error that ends the daemon until a metric that the adopted worker has printed since is seen by a
    client that follows, and that starts the next daemon."""
    taken, trigger = [], home.folder / "trigger"
    for _ in range(count):
        home.kill()
        home.paths.crashes.unlink(missing_ok=True)  # so many within a minute are refused
        home.start(str(ERRING), "sandbox_actors.actors.pool:due", str(trigger))
        with warnings.catch_warnings(), Client(home.paths, autostart=True) as client:
            warnings.simplefilter("ignore", UserWarning)  # the daemon has died
            id = client.submit_definition(home.definition({"type": "Counts", "count": 200_000, "pause": 0.01}))
            until(lambda client=client, id=id: client.metrics(id))  # type: ignore[misc]
            before = client.status().pid
            trigger.touch()
            with home.client() as other:  # its actor becomes idle, and the pool looks at those that are
                other.submit_definition(home.definition({"type": "Returns", "value": 1}, work_dir="other"))
            until(lambda: not trigger.exists())
            began, started = time.time(), time.perf_counter()
            for changed in client.follow(id, interval=0.01):
                if any(row.time > began for row in changed.metrics) and listener(home.paths.socket) not in (
                    before,
                    None,
                ):
                    break
            taken.append(time.perf_counter() - started)
            client.cancel(id)
            client.stop_daemon(now=True)
        home.daemon.wait()
        home.start()
    print_figure("error in the daemon to the worker's next metric, p50 / p99", quantiles(taken), f"{count} (goal: 1 s)")


def measure_waiting(home: Home, count: int) -> None:
    """Experiments with work_dirs of their own that all want every cpu, behind one that has them: the rows that each
    writes from its submission to its end, and what they cost the daemon while they wait."""
    with home.client() as client, held_up(home, client, cpus=64) as release:
        before = newest_change(client)
        started = time.perf_counter()
        job, ids = {"type": "Returns", "value": 1}, list[str]()
        for number in range(count):
            ids.append(client.submit_definition(home.definition(job, work_dir=f"work{number}", cpus=64)))
        until(lambda: client.show(ids[-1]).jobs[0].reason)
        memory = daemon_memory(home)
        release()
        until(lambda: client.status().experiments == 0)
        seconds = time.perf_counter() - started
        print_figure(
            f"rows written an experiment, {count} wait for cpus",
            f"{(newest_change(client) - before) / count:.1f}",
            f"whatever their number; {seconds:.1f} s for all, and {memory:.0f} MiB of memory",
        )


def measure_queue(home: Home, count: int) -> None:
    """Experiments that wait for one work_dir: how long `ls` takes, and the memory of the daemon."""
    with home.client() as client, held_up(home, client, cpus=None) as release:
        ids = [client.submit_definition(home.definition({"type": "Returns", "value": 1})) for _ in range(count)]
        until(lambda: client.show(ids[-1]).experiment.reason)
        taken = []
        for _ in range(200):
            started = time.perf_counter()
            client.experiments()
            taken.append(time.perf_counter() - started)
        print_figure(f"`ls`, p50 / p99, {count} queued", quantiles(taken), "(goal: p99 200 ms)")
        print_figure(f"memory of the daemon, {count} queued", f"{daemon_memory(home):.0f} MiB", "(goal: 80 MiB)")
        home.kill()  # instead of running them all
        started = time.perf_counter()
        home.start()
        with home.client() as next_client:
            until(lambda: next_client.status().experiments > count)
        print_figure(f"restart with {count} queued", f"{time.perf_counter() - started:.2f} s", "to an answer")
        release()


@contextmanager
def held_up(home: Home, client: Client, cpus: float | None) -> Iterator[Callable[[], None]]:
    """In the block, an experiment runs in the work_dir `work`, and holds `cpus`, until the function is called."""
    mine, other = home.folder / "mine", home.folder / "other"
    for file in (mine, other):
        file.unlink(missing_ok=True)
    client.submit_definition(home.definition({"type": "Meets", "mine": str(mine), "other": str(other)}, cpus=cpus))
    until(mine.exists)
    yield other.touch


def newest_change(client: Client) -> int:
    return max(row.seq for row in client.experiments())


def daemon_memory(home: Home) -> float:
    """Resident MiB."""
    return float(psutil.Process(home.daemon.pid).memory_info().rss / 1024**2)


def quantiles(taken: list[float]) -> str:
    taken = sorted(taken)
    return f"{taken[len(taken) // 2] * 1e3:.0f} / {taken[int(len(taken) * 0.99)] * 1e3:.0f} ms"


def until(is_true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


if __name__ == "__main__":
    main()
