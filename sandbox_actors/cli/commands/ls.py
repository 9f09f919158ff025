"""`sandbox ls`."""

from __future__ import annotations

import argparse
import time

from sandbox_actors.cli.command import argument, command, count
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.tables import experiments_table
from sandbox_actors.client.client import Client

TABLE_ROWS = 100
ALL_ROWS = 1000


@command(
    argument(
        *("-n", "--limit"),
        type=count,
        metavar="COUNT",
        help=f"how many at most; default {TABLE_ROWS}, with --json or -q {ALL_ROWS}",
    )
)
def ls(options: argparse.Namespace, screen: Screen) -> int:
    is_table = not screen.is_json and not screen.is_quiet
    limit = options.limit or (TABLE_ROWS if is_table else ALL_ROWS)
    with Client() as client:
        rows = client.experiments(limit + is_table)
    screen.listing(
        rows[:limit],
        document=json_forms.experiment,
        name=lambda row: row.id,
        table=lambda rows: experiments_table(rows, time.time()),
        empty="there are no experiments yet; `sandbox run FILE` runs one",
    )
    if len(rows) > limit:
        screen.note(f"older experiments are not shown; `sandbox ls -n {10 * limit}` lists more")
    return SUCCEEDED
