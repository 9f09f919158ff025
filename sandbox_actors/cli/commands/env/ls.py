"""`sandbox env ls`."""

from __future__ import annotations

import argparse
from pathlib import Path

from envs.inventory import list_envs
from sandbox_actors.cli.command import command
from sandbox_actors.cli.commands.env.usage import Workers, local_paths
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.tables import envs_table


@command()
def ls(options: argparse.Namespace, screen: Screen) -> int:
    envs, workers = list_envs(local_paths().envs, with_sizes=not screen.is_quiet), Workers()
    screen.listing(
        envs,
        document=lambda env: json_forms.env(env, workers.of(env)),
        name=lambda env: Path(env.path).name,
        table=lambda envs: envs_table([(env, workers.users(env)) for env in envs]),
        empty="there are no environments yet; a job builds the one that it needs, `sandbox env create SPEC` builds one "
        "in advance",
    )
    return SUCCEEDED
