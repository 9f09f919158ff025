"""`sandbox ps` and `sandbox stop`: component actors."""

from __future__ import annotations

import argparse

from sandbox_actors.cli.command import argument, command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.tables import workers_table
from sandbox_actors.client.client import Client


@command()
def ps(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        rows = client.workers()
    screen.listing(
        rows,
        document=json_forms.worker,
        name=lambda row: row.worker,
        table=workers_table,
        empty="no component actors are running; a job starts those that it needs",
    )
    return SUCCEEDED


@command(
    argument("worker", metavar="WORKER", help="its name, as `sandbox ps` lists it"),
    argument("--force", action="store_true", help="stop it even if it is in use; its job fails"),
)
def stop(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        row = client.stop_worker(options.worker, force=options.force)
    screen.result(json_forms.worker(row), row.worker, f"{row.worker} (pid {row.pid}) has stopped")
    return SUCCEEDED
