"""`sandbox cancel`."""

from __future__ import annotations

import argparse

from sandbox_actors.cli.command import EXPERIMENT, command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.client.client import Client


@command(EXPERIMENT)
def cancel(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        row = client.cancel(options.experiment)
    screen.result(json_forms.experiment(row), row.id, f"experiment {row.id} {row.state}")
    return SUCCEEDED
