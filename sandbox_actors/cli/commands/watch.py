"""`sandbox watch` and `sandbox resume`: both follow an experiment to its end."""

from __future__ import annotations

import argparse

from sandbox_actors.cli.command import EXPERIMENT, command
from sandbox_actors.cli.follow import follow
from sandbox_actors.cli.screen import Screen
from sandbox_actors.client.client import Client


@command(EXPERIMENT)
def watch(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        return follow(client, screen, client.show(options.experiment).experiment.id)


@command(EXPERIMENT)
def resume(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        return follow(client, screen, client.resume(options.experiment), "resumed")
