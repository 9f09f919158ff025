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

from envs.build_command import Event, Failed, command_for
from envs.builder import Progress, Ready
from envs.record import record_of
from envs.repeat import caveats, differences, repeated
from envs.specs import EnvSpec, load_spec
from sandbox_actors.cli.command import argument, command
from sandbox_actors.cli.commands.env.usage import local_paths
from sandbox_actors.cli.exit_status import FAILED, SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view.env_builds import BuildLines, BuildView, live_build
from sandbox_actors.cli.view.recorded_envs import unrecorded
from sandbox_actors.cli.view.text import duration
from sandbox_actors.client.client import Client
from sandbox_actors.errors import EnvError, NotFound, Refused, did_you_mean
from sandbox_actors.files import PACKAGES
from sandbox_actors.protocol.rows import EnvRecord


@command(
    argument(
        "spec",
        metavar="SPEC",
        nargs="?",
        default="",
        help="name of a spec in configs/envs, or the path of one; with --from, the name of one of the environments",
    ),
    argument(
        "--from",
        dest="experiment",
        metavar="EXPERIMENT",
        help="build the environments of an experiment again, with the versions that it ran with",
    ),
)
def create(options: argparse.Namespace, screen: Screen) -> int:
    paths = local_paths()
    if options.experiment:
        records = _records(options.experiment, options.spec)
        paths.prepare()
        return max(_create(repeated(record), paths.envs, screen, record) for record in records)
    if not options.spec:
        raise Refused("give the name or path of a spec, or an experiment: `sandbox env create --from EXPERIMENT`")
    spec = load_spec(options.spec)
    paths.prepare()
    return _create(spec, paths.envs, screen)


def _create(spec: EnvSpec, root: Path, screen: Screen, record: EnvRecord | None = None) -> int:
    """Build the environment of `spec`, which repeats that of `record`. Raises EnvError."""
    notes = caveats(record) if record else []
    with _view(screen) as view:

        def show(event: Event) -> None:
            if isinstance(event, Ready) and record:
                notes.extend(differences(record, record_of(spec, Path(event.path))))
            if screen.is_json:
                more = {"notes": notes} if isinstance(event, Ready) and record else {}
                screen.document({**msgspec.to_builtins(event), "name": spec.name, **more})
            elif isinstance(event, Progress):
                view.show(event)

        result = _build(spec, root, show)
    if isinstance(result, Failed):
        if screen.is_json:
            return FAILED
        raise EnvError("\n".join([result.text, *notes]))
    if not screen.is_json:
        how = "existed already" if result.reused else f"built in {duration(result.seconds)}"
        screen.data(Path(result.path).name if screen.is_quiet else f"{spec.name} is ready ({how}): {result.path}")
        for note in notes:
            screen.note(f"{spec.name}: {note}")
    return SUCCEEDED


def _records(experiment: str, name: str) -> list[EnvRecord]:
    """The environments that jobs of an experiment ran in, or the one of that name. Raises NotFound."""
    with Client() as client:
        detail = client.show(experiment)
    id, missing = detail.experiment.id, unrecorded(detail)
    if not detail.envs:
        raise NotFound(f"experiment {id}: {missing or 'no job has run in an environment yet'}")
    records = [row.record for row in detail.envs if name in ("", row.record.name)]
    if not records:
        known = did_you_mean(name, [row.record.name for row in detail.envs])
        raise NotFound(f"no job of experiment {id} ran in an environment {name!r}{known}")
    return records


def _view(screen: Screen) -> AbstractContextManager[BuildView]:
    if screen.is_json or screen.is_quiet:
        return nullcontext(BuildView())
    if screen.is_terminal and sys.stderr.isatty():
        return live_build(Console(stderr=True, highlight=False))
    return nullcontext(BuildLines(screen.note))


def _build(spec: EnvSpec, root: Path, show: Callable[[Event], None]) -> Ready | Failed:
    """Build with the daemon's builder, in a process of its own that cleans up when it is interrupted."""
    ready_or_failed: Ready | Failed | None = None
    with subprocess.Popen(command_for(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PACKAGES) as builder:
        assert builder.stdin is not None
        assert builder.stdout is not None
        try:
            with builder.stdin:
                builder.stdin.write(msgspec.json.encode(spec))
            for line in builder.stdout:
                event: Event = msgspec.json.decode(line, type=Event)
                show(event)
                ready_or_failed = ready_or_failed if isinstance(event, Progress) else event
        except BaseException:
            builder.send_signal(signal.SIGINT)  # from a terminal it has received one already, and ignores this one
            builder.wait()
            raise
    return ready_or_failed or Failed(message=f"the builder of env {spec.name} was killed; the logs are in {root}")
