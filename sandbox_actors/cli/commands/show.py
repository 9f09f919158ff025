"""`sandbox show`."""

from __future__ import annotations

import argparse

from rich.text import Text

from sandbox_actors.cli.command import EXPERIMENT, command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.follow import note_failures, print_analyses, print_outcome
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.recorded_envs import unrecorded
from sandbox_actors.cli.view.snapshot import Snapshot
from sandbox_actors.cli.view.tables import recorded_envs_table
from sandbox_actors.client.client import Client


@command(EXPERIMENT)
def show(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        detail = client.show(options.experiment)
        if screen.is_json or screen.is_quiet:
            screen.result(json_forms.detail(detail), detail.experiment.id, "")
            return SUCCEEDED
        metrics = client.metrics(detail.experiment.id)
    snapshot = Snapshot()
    snapshot.add(detail.experiment, detail.jobs, metrics)
    print_outcome(screen, snapshot, detail)
    print_analyses(screen, snapshot)
    if detail.envs:
        screen.picture(Text(""), recorded_envs_table(detail.envs))
    if note := unrecorded(detail):
        screen.note(note)
    note_failures(screen, detail)
    return SUCCEEDED
