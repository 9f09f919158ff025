"""`sandbox env create`."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import msgspec
from rich.console import Console

from envs.build_command import FOLDER, Event, Failed, command_for
from envs.builder import Progress, Ready
from envs.specs import EnvSpec, load_spec
from sandbox_actors.cli.command import argument, command
from sandbox_actors.cli.commands.env.usage import local_paths
from sandbox_actors.cli.exit_status import FAILED, SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view.env_builds import BuildLines, BuildView, live_build
from sandbox_actors.cli.view.text import duration
from sandbox_actors.errors import EnvError


@command(argument("spec", metavar="SPEC", help="name of a spec in configs/envs, or the path of one"))
def create(options: argparse.Namespace, screen: Screen) -> int:
    spec = load_spec(options.spec)
    paths = local_paths()
    paths.prepare()
    with _view(screen) as view:

        def show(event: Event) -> None:
            if screen.is_json:
                screen.document({**msgspec.to_builtins(event), "name": spec.name})
            elif isinstance(event, Progress):
                view.show(event)

        result = _build(spec, paths.envs, show)
    if isinstance(result, Failed):
        if screen.is_json:
            return FAILED
        raise EnvError(result.text)
    if screen.is_quiet:
        screen.data(Path(result.path).name)
    elif not screen.is_json:
        how = "existed already" if result.reused else f"built in {duration(result.seconds)}"
        screen.data(f"{spec.name} is ready ({how}): {result.path}")
    return SUCCEEDED


def _view(screen: Screen) -> AbstractContextManager[BuildView]:
    if screen.is_json or screen.is_quiet:
        return nullcontext(BuildView())
    if screen.is_terminal and sys.stderr.isatty():
        return live_build(Console(stderr=True, highlight=False))
    return nullcontext(BuildLines(screen.note))


def _build(spec: EnvSpec, root: Path, show: Callable[[Event], None]) -> Ready | Failed:
    """Build with the daemon's builder, in a process of its own that cleans up when it is interrupted."""
    ready_or_failed: Ready | Failed | None = None
    command = command_for(spec, root)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=FOLDER) as builder:
        assert builder.stdout is not None
        try:
            for line in builder.stdout:
                event: Event = msgspec.json.decode(line, type=Event)
                show(event)
                ready_or_failed = ready_or_failed if isinstance(event, Progress) else event
        except BaseException:
            builder.send_signal(signal.SIGINT)  # from a terminal it has received one already, and ignores this one
            builder.wait()
            raise
    return ready_or_failed or Failed(message=f"the builder of env {spec.name} was killed; the logs are in {root}")
