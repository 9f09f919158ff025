"""The overhead of experiments: `python -m tests.bench.bench_experiment_file [--quick]`.

A thousand jobs that do nothing, the check of a large file, and a daemon with many old experiments. Each figure is
printed with its goal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import trio
import yaml

from sandbox_actors.client.client import Client
from sandbox_actors.daemon.coordinator import waiting_rows
from sandbox_actors.experiment.model import Experiment, Job, Pipeline, freeze, number_jobs
from sandbox_actors.protocol.client_requests import Submit
from sandbox_actors.protocol.rows import ExperimentDetail
from sandbox_actors.store.store import Outputs, Store, open_store
from sandbox_actors.system.paths import Paths, find_paths
from tests.bench.figures import print_figure

JOBS = 1_000
CHECKED = 500
HISTORY = 10_000
REPEATS = 9

SANDBOX = [sys.executable, "-c", "import sys; from sandbox_actors.cli import main; sys.exit(main())"]
"""What the installed script runs."""

NOTHING = """
class Nothing:
    def __init__(self, config):
        self.config = config

    def run(self):
        return self.config["value"]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    options = parser.parse_args()
    share = 10 if options.quick else 1
    with tempfile.TemporaryDirectory(prefix="sb-") as folder:
        print_figure(
            "a Python process that does nothing",
            f"{median_of([sys.executable, '-c', 'pass']) * 1000:.0f} ms",
            "lower bound of the following",
        )
        measure_jobs(Path(folder), JOBS // share)
        measure_check(Path(folder), CHECKED // share)
        measure_history(Path(folder), HISTORY // share)


@contextmanager
def daemon(home: Path) -> Iterator[tuple[dict[str, str], Paths]]:
    environ = {**os.environ, "SANDBOX_HOME": str(home), "WANDB_MODE": "disabled", "NO_COLOR": "1"}
    paths = find_paths(environ)
    os.environ.update(environ)
    with Client(paths, autostart=True) as client:
        yield environ, paths
        client.stop_daemon(now=True)


# --- a thousand jobs --------------------------------------------------------------------------------------------------


def measure_jobs(folder: Path, count: int) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "nothing.py").write_text(NOTHING)
    home = folder / "jobs"
    home.mkdir()
    if built := os.environ.get("SANDBOX_TEST_ENVS"):
        (home / "envs").symlink_to(built)
    with daemon(home) as (_, paths), Client(paths) as client:
        finished(client, idle_jobs(folder, 2))
        took = seconds_of(finished(client, idle_jobs(folder, count)))
    print_figure(
        f"{count:,} jobs, overhead of each", f"{took / count * 1000:.1f} ms", "goal: under 5 ms, each success durable"
    )


def idle_jobs(folder: Path, count: int) -> Experiment:
    """Jobs that do nothing; each has the output of the previous one as input."""
    jobs = [
        Job(
            hook="GeneralDataExecutorHook",
            meta_name=f"job{number}",
            extra_configs={"type": "nothing:Nothing", "value": number},
            input={"extra_configs.before": f"anonymous.job{number - 1}.res_0"} if number else {},
            env="plain",
            component_path=str(folder / "code"),
        )
        for number in range(count)
    ]
    return Experiment(
        project_name="bench",
        experiment_name="nothing",
        work_dir=str(folder / "work"),
        pipelines=[Pipeline(name="anonymous", execution_jobs=jobs)],
    )


def finished(client: Client, experiment: Experiment) -> ExperimentDetail:
    detail = client.wait(client.submit_definition(freeze(experiment)))
    assert detail.experiment.state == "succeeded", detail.experiment.error
    return detail


def seconds_of(detail: ExperimentDetail) -> float:
    row = detail.experiment
    assert row.started is not None
    assert row.finished is not None
    return row.finished - row.started


# --- a large file -----------------------------------------------------------------------------------------------------


def measure_check(folder: Path, count: int) -> None:
    file = folder / "large.yaml"
    file.write_text(yaml.safe_dump(large_file(count), sort_keys=False))
    seconds = median_of_command("check", str(file))
    print_figure(f"sandbox check of {count} jobs", f"{seconds * 1000:.0f} ms", "goal: under 300 ms")


def large_file(count: int) -> dict[str, object]:
    """Recipes with a few operators each, whose dataset is the output of the previous job."""
    jobs = [
        {
            "hook": "ProcessDataHook",
            "meta_name": f"process{number}",
            "dj_configs": {
                "dataset_path": "<output of the previous job>" if number else __file__,
                "export_path": f"./outputs/large/{number}.jsonl",
                "process": [
                    {"text_length_filter": {"min_len": 10, "max_len": 1000 + number}},
                    {"language_id_score_filter": {"lang": "en", "min_score": 0.8}},
                    {"whitespace_normalization_mapper": None},
                ],
            },
            "input": {"dj_configs.dataset_path": f"anonymous.process{number - 1}.res_0"} if number else {},
        }
        for number in range(count)
    ]
    return {"project_name": "bench", "experiment_name": "large", "execution_job_configs": jobs}


# --- many experiments -------------------------------------------------------------------------------------------------


def measure_history(folder: Path, count: int) -> None:
    home = folder / "history"
    home.mkdir(mode=0o700)
    trio.run(fill_store, find_paths({"SANDBOX_HOME": str(home)}), idle_jobs(folder, 5), count)
    with daemon(home) as (_, paths), Client(paths) as client:
        seconds = median_of_command("ls")
        memory = psutil.Process(client.status().pid).memory_info().rss
    print_figure(f"sandbox ls with {count:,} experiments", f"{seconds * 1000:.0f} ms", "goal: under 200 ms")
    print_figure(f"daemon with {count:,} experiments, resident", f"{memory / 1e6:.0f} MB")


async def fill_store(paths: Paths, experiment: Experiment, count: int) -> None:
    """Fill the store with ended experiments."""
    submit = Submit(definition=freeze(experiment), source="bench.yaml", cwd="/")
    async with open_store(paths.store) as store, trio.open_nursery() as nursery:
        limit = trio.CapacityLimiter(200)
        for number in range(count):
            nursery.start_soon(add_ended, store, submit, experiment, f"bench{number}", limit)


async def add_ended(
    store: Store, submit: Submit, experiment: Experiment, name: str, limit: trio.CapacityLimiter
) -> None:
    async with limit:
        waiting, now = waiting_rows(number_jobs(experiment), iter=1), time.time()
        row, _ = await store.add_experiment(
            submit, name=name, project="bench", work_dir="/nonexistent", submitted=now, jobs=waiting
        )
        for job in waiting:
            done = msgspec.structs.replace(job, state="succeeded", started=now, finished=now, seconds=0.0)
            entry = {"meta_name": job.meta_name, "res_0": job.index}
            outputs = Outputs(iter=1, index=job.index, values=[job.index], is_tuple=False, entry=entry)
            await store.finish_job(row.id, done, outputs)
        await store.update_experiment(row.id, state="succeeded", started=now, finished=now)


def median_of_command(*arguments: str) -> float:
    """The median seconds of a `sandbox` command, from its start to its end."""
    return median_of([*SANDBOX, *arguments])


def median_of(command: list[str]) -> float:
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
