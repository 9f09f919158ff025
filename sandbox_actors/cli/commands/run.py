"""The commands that run experiment files."""

from __future__ import annotations

import argparse
import os

import msgspec

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


def run(options: argparse.Namespace, screen: Screen) -> int:
    definition = _definition(options, screen)
    if options.dry_run:
        return _print_plan(definition, screen)
    with Client() as client:
        id = client.submit_definition(definition, os.path.abspath(options.file))
        if screen.is_json:
            screen.document({"event": "submitted", "experiment": id})
        elif screen.is_quiet:
            screen.data(id)
        return follow(client, screen, id)


def submit(options: argparse.Namespace, screen: Screen) -> int:
    definition = _definition(options, screen)
    with Client() as client:
        id = client.submit_definition(definition, os.path.abspath(options.file))
    if screen.is_json:
        screen.document({"experiment": id})
    else:
        screen.data(id)
    return SUCCEEDED


def _definition(options: argparse.Namespace, screen: Screen) -> dict[str, object]:
    """The file, frozen; its warnings are said. Raises ConfigError before any daemon is asked or started."""
    loaded = load_experiment(options.file, options.set, load_catalogue())
    for problem in loaded.warnings:
        screen.note(f"warning: {problem}")
    return freeze(loaded.require())


def _print_plan(definition: dict[str, object], screen: Screen) -> int:
    """What a run would do. Without a daemon nothing is warm, and none is started for the question."""
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
