"""`sandbox metrics`."""

from __future__ import annotations

import argparse

from sandbox_actors.cli.command import EXPERIMENT, argument, command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.charts import draw_metric
from sandbox_actors.cli.view.tables import metrics_table, points_table
from sandbox_actors.client.client import Client


@command(
    EXPERIMENT,
    argument(
        "name",
        metavar="NAME",
        nargs="?",
        default="",
        help="one metric: loss, or with its job train.loss, or with its pipeline baseline.train.loss",
    ),
)
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
            _note_missing(client, options, screen)
    return SUCCEEDED


def _note_missing(client: Client, options: argparse.Namespace, screen: Screen) -> None:
    names = sorted({row.name for row in client.metrics(options.experiment)}) if options.name else []
    known = f"; recorded so far: {', '.join(names)}" if names else ""
    what = f"metric {options.name!r} has" if options.name else "metrics have"
    screen.note(f"no {what} been recorded yet{known}")
