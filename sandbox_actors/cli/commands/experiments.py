"""The commands about experiments."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.follow import follow, note_failures, print_analyses, print_outcome
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.charts import draw_metric
from sandbox_actors.cli.view.log_lines import lines
from sandbox_actors.cli.view.snapshot import Scene
from sandbox_actors.cli.view.tables import experiments_table, metrics_table, points_table
from sandbox_actors.client.client import Client, newest_job
from sandbox_actors.protocol.client_requests import Changed
from sandbox_actors.protocol.rows import JobRow

TABLE_ROWS = 100
ALL_ROWS = 1000


def ls(options: argparse.Namespace, screen: Screen) -> int:
    is_table = not screen.is_json and not screen.is_quiet
    limit = options.limit or (TABLE_ROWS if is_table else ALL_ROWS)
    with Client() as client:
        rows = client.experiments(limit + is_table)
    if screen.is_json:
        screen.document([json_forms.experiment(row) for row in rows])
    elif screen.is_quiet:
        for row in rows:
            screen.data(row.id)
    elif rows:
        screen.picture(experiments_table(rows[:limit], time.time()))
        if len(rows) > limit:
            screen.note(f"older ones are left out; `sandbox ls -n {10 * limit}` lists more")
    else:
        screen.note("there is no experiment yet; `sandbox run FILE` starts one")
    return SUCCEEDED


def show(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        detail = client.show(options.experiment)
        if screen.is_json:
            screen.document(json_forms.detail(detail))
        elif screen.is_quiet:
            screen.data(detail.experiment.id)
        else:
            scene = Scene()
            scene.update(
                Changed(
                    next=0,
                    next_progress=0,
                    experiment=detail.experiment,
                    jobs=detail.jobs,
                    metrics=client.metrics(detail.experiment.id),
                    progress=None,
                    finished=True,
                )
            )
            print_outcome(screen, scene, detail)
            print_analyses(screen, scene)
            note_failures(screen, detail)
    return SUCCEEDED


def watch(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        id = client.show(options.experiment).experiment.id
        if screen.is_quiet and not screen.is_json:
            screen.data(id)
        return follow(client, screen, id)


def resume(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        id = client.resume(options.experiment)
        if screen.is_json:
            screen.document({"event": "resumed", "experiment": id})
        elif screen.is_quiet:
            screen.data(id)
        return follow(client, screen, id)


def cancel(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        row = client.cancel(options.experiment)
    if screen.is_json:
        screen.document(json_forms.experiment(row))
    else:
        screen.data(row.id if screen.is_quiet else f"experiment {row.id} {row.state}")
    return SUCCEEDED


def metrics(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        rows = client.metrics(options.experiment, options.name)
        if screen.is_json:
            screen.document([json_forms.metric(row) for row in rows])
        elif rows and options.name and screen.is_terminal:
            draw_metric(screen, rows)
        elif rows:
            screen.picture(metrics_table(rows) if not options.name else points_table(rows))
        else:
            _note_no_metric(client, options, screen)
    return SUCCEEDED


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
                if screen.is_json:
                    screen.document({"job": name, "line": line})
                else:
                    screen.data(line)
    if is_empty:
        screen.note("nothing has been written yet")
    return SUCCEEDED


def _names_as_they_start(client: Client, id: str) -> Iterator[str]:
    """The jobs of an experiment as `pipeline.meta_name`, each when it has started."""
    told: set[tuple[int, str]] = set()
    for changed in client.follow(id):
        started = sorted((job for job in changed.jobs if job.started is not None), key=lambda job: job.started or 0.0)
        # A log is found by name, that of the newest iteration.
        newest: dict[str, JobRow] = {f"{job.pipeline}.{job.meta_name}": job for job in started}
        for name, job in newest.items():
            if (job.iter, name) not in told:
                told.add((job.iter, name))
                yield name


def _note_no_metric(client: Client, options: argparse.Namespace, screen: Screen) -> None:
    names = sorted({row.name for row in client.metrics(options.experiment)}) if options.name else []
    there_are = f"; there are: {', '.join(names)}" if names else ""
    what = f"metric {options.name!r}" if options.name else "metric"
    screen.note(f"no {what} has come yet{there_are}")
