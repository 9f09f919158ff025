"""Run an experiment from Python: `python examples/client.py configs/demo/sandbox.yaml max_iter_num=2`.

Submits the file, prints the progress while it runs, then the metrics and the outputs of its jobs. The first use starts
a daemon, which continues to run: the next experiment finds its models loaded.
"""

from __future__ import annotations

import sys

from sandbox_actors import Client
from sandbox_actors.errors import ConfigError, SandboxError
from sandbox_actors.protocol.rows import ExperimentDetail


def main(file: str, *overrides: str) -> int:
    try:
        with Client() as client:
            experiment = client.submit(file, overrides)
            print(f"experiment {experiment} is submitted")
            follow(client, experiment)
            detail = client.show(experiment)
            if detail.experiment.state != "succeeded":
                print_failures(client, detail)
                return 1
            print_metrics(client, experiment)
            print_outputs(detail)
            return 0
    except ConfigError as error:  # nothing was submitted
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except SandboxError as error:  # for instance, the daemon cannot be started
        print(error, file=sys.stderr)
        return 3


def follow(client: Client, experiment: str) -> None:
    """Print each change of a job's state and each progress bar, until the experiment has ended.

    It also ends if it is cancelled from elsewhere, and continues if the daemon dies and is replaced.
    """
    for changed in client.follow(experiment, interval=1.0):
        for job in changed.jobs:
            warm = {True: " by a warm actor", False: " by a new actor", None: ""}[job.warm]
            print(f"{job.pipeline}.{job.meta_name} (iteration {job.iter}): {job.state}{warm} {job.reason}".rstrip())
        for bar in (changed.progress or {}).values():
            print(f"  {bar.label} {bar.done:g}{f'/{bar.total:g}' if bar.total else ''} {bar.unit}".rstrip())


def print_metrics(client: Client, experiment: str) -> None:
    """The last value of each metric, and how many values were recorded."""
    series: dict[str, list[object]] = {}
    for row in client.metrics(experiment):
        series.setdefault(f"{row.pipeline}.{row.job}.{row.name} (iteration {row.iter})", []).append(row.value)
    for name, values in series.items():
        print(f"metric {name}: {values[-1]}, {len(values)} values")


def print_outputs(detail: ExperimentDetail) -> None:
    """The outputs of each job, in each iteration."""
    for iteration in detail.iterations:
        for pipeline, jobs in iteration.context_infos.items():
            for outputs in jobs:
                values = {name: value for name, value in outputs.items() if name != "meta_name"}
                print(f"output {pipeline}.{outputs['meta_name']} (iteration {iteration.iter}): {values}")


def print_failures(client: Client, detail: ExperimentDetail) -> None:
    """The error and the last lines of the log of each failed job, and how to continue."""
    experiment = detail.experiment
    print(f"experiment {experiment.id} has {experiment.state}: {experiment.error}", file=sys.stderr)
    for job in detail.jobs:
        if job.state == "failed":
            name = f"{job.pipeline}.{job.meta_name}"
            log = b"".join(client.log(experiment.id, name)).decode(errors="replace")
            print(f"{name} failed: {job.error}\nthe end of its log:", file=sys.stderr)
            print("\n".join(log.splitlines()[-10:]), file=sys.stderr)
    print(f"`sandbox resume {experiment.id}` continues at the first job that has not succeeded", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} FILE [KEY=VALUE]...")
    sys.exit(main(*sys.argv[1:]))
