"""`sandbox env rm` and `sandbox env prune`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from envs import inventory
from envs.inventory import BuiltEnv
from sandbox_actors.cli.command import argument, command
from sandbox_actors.cli.commands.env.usage import ENV_HELP, Workers, local_paths
from sandbox_actors.cli.exit_status import SUCCEEDED, status_of
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.text import size
from sandbox_actors.errors import SandboxError
from sandbox_actors.experiment_file.quantities import parse_duration

UNUSED_FOR = "30d"


@command(argument("envs", metavar="NAME", nargs="+", help=ENV_HELP))
def rm(options: argparse.Namespace, screen: Screen) -> int:
    """Removes each environment that can be removed, even if others cannot."""
    root, workers, status = local_paths().envs, Workers(), SUCCEEDED
    removed = []
    for name in options.envs:
        try:
            removed.append(inventory.remove_env(root, name, workers.objection))
        except SandboxError as error:
            screen.note(f"sandbox: {error}")
            status = max(status, status_of(error))
    _print_removed(screen, removed, "removed")
    return status


def _seconds(text: str) -> float:
    """The type of an option. Raises ArgumentTypeError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@command(
    argument(
        "--unused-for",
        type=_seconds,
        default=UNUSED_FOR,
        metavar="TIME",
        help=f"remove those not used for this long, such as 90s or 12h; default {UNUSED_FOR}",
    ),
    argument("--dry-run", action="store_true", help="only print what would be removed"),
)
def prune(options: argparse.Namespace, screen: Screen) -> int:
    root, workers = local_paths().envs, Workers()
    if options.dry_run:
        envs = [env for env in inventory.list_envs(root) if inventory.is_due(env, options.unused_for) and not env.pids]
    else:
        envs = inventory.prune(root, options.unused_for, workers.objection)
    _print_removed(screen, envs, "would be removed" if options.dry_run else "removed")
    if not envs:
        screen.note("nothing to remove: every environment is in use or was used recently")
    return SUCCEEDED


def _print_removed(screen: Screen, envs: Sequence[BuiltEnv], how: str) -> None:
    if screen.is_json:
        screen.document([json_forms.env(env, []) for env in envs])
        return
    for env in envs:
        name = Path(env.path).name
        screen.data(name if screen.is_quiet else f"{name} {how}: {size(env.own_bytes)}")
    if len(envs) > 1 and not screen.is_quiet:
        screen.data(f"{size(sum(env.own_bytes for env in envs))} in total")
