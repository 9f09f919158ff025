"""The commands about envs. They work on the folder of envs itself, safely beside a daemon and without one."""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from envs.build_command import Failed
from envs.builder import Progress, Ready
from envs.env_folder import Place
from envs.inventory import BuiltEnv, find_env, list_envs, prune, remove_env
from envs.specs import SPEC_FOLDER, EnvSpec, load_spec
from sandbox_actors.cli.exit_status import FAILED, SUCCEEDED, status_of
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.env_builds import BuildLines, BuildView, LiveBuild
from sandbox_actors.cli.view.tables import ENV_STYLES, envs_table, minute
from sandbox_actors.cli.view.text import duration, one_line, size
from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import listener
from sandbox_actors.client.remote import require_local
from sandbox_actors.errors import EnvError, SandboxError
from sandbox_actors.experiment_file.quantities import parse_duration
from sandbox_actors.system.paths import Paths, find_paths

Event = Progress | Ready | Failed


def ls(options: argparse.Namespace, screen: Screen) -> int:
    envs = list_envs(_local_paths().envs, with_sizes=not screen.is_quiet)
    workers = _Workers()
    if screen.is_json:
        screen.document([json_forms.env(env, workers.of(env)) for env in envs])
    elif screen.is_quiet:
        for env in envs:
            screen.data(Path(env.path).name)
    elif envs:
        screen.picture(envs_table([(env, workers.users(env)) for env in envs]))
    else:
        screen.note("there is no env yet; a job builds the one it needs, `sandbox env create SPEC` one in advance")
    return SUCCEEDED


def create(options: argparse.Namespace, screen: Screen) -> int:
    spec = load_spec(options.spec)
    paths = _local_paths()
    paths.prepare()
    with _view(screen) as view:

        def show(event: Event) -> None:
            if screen.is_json:
                screen.document({**msgspec.to_builtins(event), "name": spec.name})
            elif isinstance(event, Progress):
                view.show(event)

        ending = _build(spec, paths.envs, show)
    if isinstance(ending, Failed):
        if screen.is_json:
            return FAILED
        raise EnvError(f"{ending.message}\nthe whole log: {ending.log}" if ending.log else ending.message)
    if screen.is_quiet:
        screen.data(Path(ending.path).name)
    elif not screen.is_json:
        how = "was there already" if ending.reused else f"built in {duration(ending.seconds)}"
        screen.data(f"{spec.name} is ready ({how}): {ending.path}")
    return SUCCEEDED


def show(options: argparse.Namespace, screen: Screen) -> int:
    env = find_env(_local_paths().envs, options.env)
    place, workers = Place(Path(env.path)), _Workers()
    packages = _packages(place.prefix)
    python = str(place.python) if env.state == "ready" else ""
    log = str(place.log) if place.log.exists() else ""
    if screen.is_json:
        more = {"python": python, "log": log, "packages": packages, "spec": env.spec}
        screen.document({**json_forms.env(env, workers.of(env)), **more})
        return SUCCEEDED
    if screen.is_quiet:
        screen.data(place.prefix.name)
        return SUCCEEDED
    facts = {
        "manager": env.manager,
        **{key: _shown(value) for key, value in env.spec.items() if key not in ("name", "manager")},
        "folder": env.path,
        "interpreter": python,
        "log": log,
        "packages": str(len(packages)) if packages else "",
        "size": f"{size(env.size_bytes)}, of which removing it frees {size(env.own_bytes)}",
        "built": f"{minute(env.created)} in {duration(env.seconds)}" if env.created else "",
        "last used": minute(env.last_used),
        "used by": ", ".join(workers.users(env)),
    }
    screen.picture(
        Text.assemble((one_line(env.name), "bold"), "  ", (env.state, ENV_STYLES.get(env.state, ""))),
        *(Text.assemble((f"{key:<14}", "dim"), one_line(value)) for key, value in facts.items() if value),
    )
    return SUCCEEDED


def rm(options: argparse.Namespace, screen: Screen) -> int:
    """Those that can be removed are, whatever becomes of the others."""
    root, workers, status = _local_paths().envs, _Workers(), SUCCEEDED
    gone = []
    for name in options.envs:
        try:
            gone.append(remove_env(root, name, workers.objection))
        except SandboxError as error:
            screen.note(f"sandbox: {error}")
            status = max(status, status_of(error))
    _print_gone(screen, gone, "removed")
    return status


def prune_envs(options: argparse.Namespace, screen: Screen) -> int:
    root, workers = _local_paths().envs, _Workers()
    if options.dry_run:
        envs = [env for env in list_envs(root) if _is_due(env, options.unused_for) and not env.pids]
    else:
        envs = prune(root, options.unused_for, workers.objection)
    _print_gone(screen, envs, "would be removed" if options.dry_run else "removed")
    if not envs:
        screen.note("nothing to remove: every env is in use, or was used lately")
    return SUCCEEDED


def seconds(text: str) -> float:
    """The type of an option that is a time."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class _Workers:
    """Names of the workers that a running daemon has, by process. Without a daemon there are none."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        paths = _local_paths()
        if listener(paths.socket) is None:
            return
        with contextlib.suppress(SandboxError), Client(paths, autostart=False) as client:
            self._names = {row.pid: row.worker for row in client.workers()}

    def of(self, env: BuiltEnv) -> list[str]:
        return [self._names[pid] for pid in env.pids if pid in self._names]

    def users(self, env: BuiltEnv) -> list[str]:
        """The workers that use an env, or what processes do."""
        return self.of(env) or [f"process {pid}" for pid in env.pids]

    def objection(self, env: BuiltEnv) -> str:
        """Why it must not be removed; empty if nobody uses it."""
        names = self.of(env)
        if not names:
            return ""
        first = " && ".join(f"sandbox stop {name}" for name in names)
        return f"env {env.name!r} is in use by {', '.join(names)}; end that first: `{first}`"


def _local_paths() -> Paths:
    """Envs are folders: they are seen and made on the daemon's machine alone."""
    require_local("`sandbox env`")
    return find_paths()


def _view(screen: Screen) -> BuildView:
    """How the building of an env is shown."""
    if screen.is_json or screen.is_quiet:
        return BuildView()
    if screen.is_terminal and sys.stderr.isatty():
        return LiveBuild(Console(stderr=True, highlight=False))
    return BuildLines(screen.note)


def _build(spec: EnvSpec, root: Path, show: Callable[[Event], None]) -> Ready | Failed:
    """Build with the daemon's own builder, in a process of its own: it cleans up when it is interrupted."""
    command = [
        sys.executable,
        "-m",
        "envs.build_command",
        "--root",
        str(root),
        "--spec",
        msgspec.json.encode(spec).decode(),
    ]
    ending: Ready | Failed | None = None
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=SPEC_FOLDER.parents[1]
    ) as builder:
        assert builder.stdout is not None
        try:
            for line in builder.stdout:
                event: Event = msgspec.json.decode(line, type=Event)
                show(event)
                ending = ending if isinstance(event, Progress) else event
        except BaseException:
            builder.send_signal(signal.SIGINT)  # a terminal has sent it one already: then this one is ignored
            builder.wait()
            raise
    return ending or Failed(message=f"the builder of env {spec.name} was ended; the logs are in {root}")


def _packages(prefix: Path) -> dict[str, str]:
    """What is installed in an env: versions by name."""
    sites = [str(site) for site in prefix.glob("lib/python3*/site-packages")]
    found = {each.name: each.version for each in distributions(path=sites) if each.name}
    return {name: found[name] for name in sorted(found, key=str.lower)}


def _is_due(env: BuiltEnv, unused_for: float) -> bool:
    return env.state == "unfinished" or (env.state == "ready" and time.time() - env.last_used >= unused_for)


def _print_gone(screen: Screen, envs: Sequence[BuiltEnv], how: str) -> None:
    if screen.is_json:
        screen.document([json_forms.env(env, []) for env in envs])
        return
    for env in envs:
        name = Path(env.path).name
        screen.data(name if screen.is_quiet else f"{name} {how}: {size(env.own_bytes)}")
    if len(envs) > 1 and not screen.is_quiet:
        screen.data(f"{size(sum(env.own_bytes for env in envs))} in all")


def _shown(value: Any) -> str:
    return ", ".join(map(_shown, value)) if isinstance(value, (list, tuple)) else str(value)
