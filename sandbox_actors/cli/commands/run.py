"""`sandbox run` and `sandbox submit`."""

from __future__ import annotations

import argparse
import os

import msgspec

from sandbox_actors.cli.command import OVERRIDES, argument, command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.follow import follow
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view.tables import plan_table
from sandbox_actors.client.client import Client
from sandbox_actors.errors import DaemonUnreachable
from sandbox_actors.experiment.model import freeze, thaw
from sandbox_actors.experiment_file.load import load_experiment
from sandbox_actors.hooks.catalogue import load_catalogue
from sandbox_actors.hooks.dry_run import dry_run

FILE = argument("file", metavar="FILE", help="the experiment, as YAML or JSON")


@command(FILE, OVERRIDES, argument("--dry-run", action="store_true", help="print the plan, and run nothing"))
def run(options: argparse.Namespace, screen: Screen) -> int:
    definition = _load(options, screen)
    if options.dry_run:
        return _print_plan(definition, screen)
    with Client() as client:
        id = client.submit_definition(definition, os.path.abspath(options.file))
        return follow(client, screen, id, "submitted")


@command(FILE, OVERRIDES)
def submit(options: argparse.Namespace, screen: Screen) -> int:
    definition = _load(options, screen)
    with Client() as client:
        id = client.submit_definition(definition, os.path.abspath(options.file))
    screen.result({"experiment": id}, id, id)
    return SUCCEEDED


def _load(options: argparse.Namespace, screen: Screen) -> dict[str, object]:
    """The frozen experiment; warnings are printed. Raises ConfigError before a daemon is asked or started."""
    loaded = load_experiment(options.file, options.set, load_catalogue())
    for problem in loaded.warnings:
        screen.note(f"warning: {problem}")
    return freeze(loaded.require())


def _print_plan(definition: dict[str, object], screen: Screen) -> int:
    """Print what a run would do. Without a daemon nothing is warm, and none is started to find that out."""
    try:
        with Client(autostart=False) as client:
            rows = client.forecast(definition)
    except DaemonUnreachable:
        rows = [each.row for each in dry_run(thaw(definition))]
    if screen.is_json:
        screen.document([msgspec.structs.asdict(row) for row in rows])
    elif not screen.is_quiet:
        screen.picture(plan_table(rows))
    return SUCCEEDED
