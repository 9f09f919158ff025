"""`sandbox run` and `sandbox submit`."""

from __future__ import annotations

import argparse
import os
from typing import Any

import msgspec

from sandbox_actors.cli.command import OVERRIDES, argument, command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.follow import follow
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view.tables import plan_table
from sandbox_actors.client.client import Client, current_folder
from sandbox_actors.client.remote import is_elsewhere
from sandbox_actors.errors import DaemonUnreachable, Refused
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
    _require_work_dir(definition)
    with Client() as client:
        id = client.submit_definition(definition, os.path.abspath(options.file))
        return follow(client, screen, id, "submitted")


@command(FILE, OVERRIDES)
def submit(options: argparse.Namespace, screen: Screen) -> int:
    definition = _load(options, screen)
    _require_work_dir(definition)
    with Client() as client:
        id = client.submit_definition(definition, os.path.abspath(options.file))
    screen.result({"experiment": id}, id, id)
    return SUCCEEDED


def _load(options: argparse.Namespace, screen: Screen) -> dict[str, Any]:
    """The frozen experiment; warnings are printed. Raises ConfigError or Refused before a daemon is asked or
    started."""
    current_folder()
    loaded = load_experiment(options.file, options.set, load_catalogue())
    for problem in loaded.warnings:
        screen.note(f"warning: {problem}")
    return freeze(loaded.require())


def _require_work_dir(definition: dict[str, Any]) -> None:
    """Raise Refused if this machine's daemon could not write to the work_dir, which is made if it does not exist."""
    given = os.path.expanduser(definition["experiment"]["work_dir"])
    if is_elsewhere():
        return
    try:
        os.makedirs(given, exist_ok=True)
        reason = "" if os.access(given, os.W_OK | os.X_OK) else "Permission denied"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        path = os.path.normpath(os.path.join(current_folder(), given))
        raise Refused(
            f"work_dir {path} cannot be written: {reason}; set another one by `--set work_dir=FOLDER`, or run the "
            "command in another folder"
        )


def _print_plan(definition: dict[str, Any], screen: Screen) -> int:
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
