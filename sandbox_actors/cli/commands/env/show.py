"""`sandbox env show`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.text import Text

from envs.env_folder import EnvFolder
from envs.inventory import find_env
from envs.record import installed_packages
from sandbox_actors.cli.command import argument, command
from sandbox_actors.cli.commands.env.usage import ENV_HELP, Workers, local_paths
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.tables import ENV_STYLES, minute
from sandbox_actors.cli.view.text import duration, one_line, size


@command(argument("env", metavar="NAME", help=ENV_HELP))
def show(options: argparse.Namespace, screen: Screen) -> int:
    env = find_env(local_paths().envs, options.env)
    folder, workers = EnvFolder(Path(env.path)), Workers()
    packages = installed_packages(folder.prefix)
    python = str(folder.python) if env.state == "ready" else ""
    log = str(folder.log) if folder.log.exists() else ""
    if screen.is_json or screen.is_quiet:
        more = {"python": python, "log": log, "packages": packages, "spec": env.spec}
        screen.result({**json_forms.env(env, workers.of(env)), **more}, folder.prefix.name, "")
        return SUCCEEDED
    facts = {
        "manager": env.manager,
        **{key: _text(value) for key, value in env.spec.items() if key not in ("name", "manager")},
        "folder": env.path,
        "interpreter": python,
        "log": log,
        "packages": str(len(packages)) if packages else "",
        "size": f"{size(env.size_bytes)}; removing it frees {size(env.own_bytes)}",
        "built": f"{minute(env.created)} in {duration(env.seconds)}" if env.created else "",
        "last used": minute(env.last_used),
        "used by": ", ".join(workers.users(env)),
    }
    screen.picture(
        Text.assemble((one_line(env.name), "bold"), "  ", (env.state, ENV_STYLES.get(env.state, ""))),
        *(Text.assemble((f"{key:<14}", "dim"), one_line(value)) for key, value in facts.items() if value),
    )
    return SUCCEEDED


def _text(value: Any) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)
