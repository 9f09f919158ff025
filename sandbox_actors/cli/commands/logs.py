"""`sandbox logs`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from sandbox_actors.cli.command import EXPERIMENT, argument, command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view.log_lines import lines
from sandbox_actors.client.client import Client, newest_job
from sandbox_actors.protocol.rows import JobRow


@command(
    EXPERIMENT,
    argument(
        "job",
        metavar="JOB",
        nargs="?",
        default="",
        help="META_NAME or PIPELINE.META_NAME; default: the job that started last",
    ),
    argument(
        *("-f", "--follow"),
        action="store_true",
        help="keep printing until the job ends; without JOB, also the jobs that start later",
    ),
)
def logs(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        detail = client.show(options.experiment)
        id = detail.experiment.id
        names = iter([options.job or newest_job(detail.jobs)])
        if options.follow and not options.job:
            names = _names_as_they_start(client, id)
        is_empty = True
        for name in names:
            if not options.job and not screen.is_json and not screen.is_quiet:
                screen.note(f"==> {name} <==")
            for line in lines(client.log(id, name, follow=options.follow)):
                is_empty = False
                if screen.lost:
                    return SUCCEEDED  # nobody can read the rest; the screen knows the status
                if screen.is_json:
                    screen.document({"job": name, "line": line})
                else:
                    screen.data(line)
    if is_empty:
        screen.note("the log is empty so far")
    return SUCCEEDED


def _names_as_they_start(client: Client, id: str) -> Iterator[str]:
    """The jobs of an experiment as `pipeline.meta_name`, each when it has started."""
    seen: set[tuple[int, str]] = set()
    for changed in client.follow(id):
        started = sorted((job for job in changed.jobs if job.started is not None), key=lambda job: job.started or 0.0)
        # The daemon finds a log by the name of its job, and returns that of the newest iteration.
        newest: dict[str, JobRow] = {f"{job.pipeline}.{job.meta_name}": job for job in started}
        for name, job in newest.items():
            if (job.iter, name) not in seen:
                seen.add((job.iter, name))
                yield name
