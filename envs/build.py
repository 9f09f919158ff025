"""Build the env of a spec once, and find it again: `python -m envs.build --root DIR --spec JSON`.

SPEC is an EnvSpec as JSON, or the name or path of one. The env lies in `DIR/<name>-<fingerprint[:12]>/`, the log of its
building beside it in `.log`, also after a failure. Any number of builders may run at once: one builds, the others wait
for it. Ended by SIGTERM or SIGINT, a builder ends all it started and leaves no env; killed, the next one cleans up.

Standard output is one JSON object a line:
    {"event": "progress", "message": ..., "done": STAGE, "total": STAGES}
    {"event": "ready", "python": ..., "path": ..., "fingerprint": ..., "seconds": ..., "reused": ...}       exit 0
    {"event": "failed", "message": ..., "command": ..., "tail": [...], "log": ...}                          exit 1
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec

from envs import installing, processes
from envs.base import Env
from envs.places import Marker, Place, default_root
from envs.requirements import flattened, package_name
from envs.router import env_of
from envs.specs import EnvSpec, load_spec
from sandbox_actors.errors import EnvError, SandboxError

WORKER_DEPS = ("pyzmq>=26", "msgspec>=0.18")
"""What the worker half of the sandbox needs in an env."""
PROBE = "import msgspec, zmq"
PROGRESS_INTERVAL = 0.1
"""Seconds between two lines of an installer that are reported on."""


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ready"):
    """A built env. `seconds` is what building it took; `reused` is true where it was there already."""

    python: str
    path: str
    fingerprint: str
    seconds: float
    reused: bool


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="progress"):
    """`done` of `total` stages are over; `message` says what is being done."""

    message: str
    done: int | None = None
    total: int | None = None


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="failed"):
    """`command` and its last lines are empty where no command failed."""

    message: str
    command: str = ""
    tail: list[str] = []
    log: str = ""


Report = Callable[[Progress], object]


def place_of(spec: EnvSpec, root: Path, fingerprint: str) -> Place:
    return Place(root / f"{spec.name}-{fingerprint[:12]}")


def find_built(spec: EnvSpec, root: Path, fingerprint: str = "") -> Ready | None:
    """The env of a spec if it has been built and nothing that it was built from has changed since; marks it as used."""
    fingerprint = fingerprint or spec.fingerprint
    place = place_of(spec, root, fingerprint)
    marker = place.read_marker()
    if marker is None or marker.fingerprint != fingerprint:
        return None
    place.touch()
    return _ready(place, fingerprint, marker.seconds, reused=True)


def build(spec: EnvSpec, root: Path, report: Report = lambda _: None) -> Ready:
    """Build the env of a spec, or find it. EnvError, and no env, when that fails."""
    fingerprint = spec.fingerprint
    root.mkdir(parents=True, exist_ok=True)
    place = place_of(spec, root, fingerprint)
    if spec.path:
        return _complete(spec, place, fingerprint, report)
    if ready := find_built(spec, root, fingerprint):
        return ready
    with place.claimed(waiting=lambda: report(Progress(message=f"waiting for another build of {spec.name}"))):
        if ready := find_built(spec, root, fingerprint):
            return ready
        tag, started = processes.new_tag(), time.time()
        with place.log.open("wb") as log, place.changing(tag):
            place.clear()
            _Builder(spec, place.prefix, log, report, tag).build()
            seconds = round(time.time() - started, 3)
            plain = msgspec.to_builtins(spec)
            place.write_marker(
                Marker(
                    name=spec.name,
                    manager=spec.manager,
                    created=started,
                    seconds=seconds,
                    fingerprint=fingerprint,
                    spec=plain,
                )
            )
    return _ready(place, fingerprint, seconds, reused=False)


def _complete(spec: EnvSpec, place: Place, fingerprint: str, report: Report) -> Ready:
    """Add what is missing to an env that its user manages."""
    started = time.time()
    with place.log.open("ab") as log:
        builder = _Builder(spec, Path(spec.path), log, report, processes.new_tag())
        reused = builder.complete()
    own = Place(Path(spec.path))
    return _ready(own, fingerprint, round(time.time() - started, 3), reused=reused)


def _ready(place: Place, fingerprint: str, seconds: float, *, reused: bool) -> Ready:
    return Ready(
        python=str(place.python), path=str(place.prefix), fingerprint=fingerprint, seconds=seconds, reused=reused
    )


class _Builder:
    """The stages of one build. Everything goes to the log; what an installer prints is progress, too."""

    def __init__(self, spec: EnvSpec, prefix: Path, log: IO[bytes], report: Report, tag: str) -> None:
        self._spec, self._log, self._report, self._tag = spec, log, report, tag
        self._env: Env = env_of(spec, prefix, self._output)
        self._lines, self._reported = processes.Tail(), 0.0
        self._done, self._total = 0, 3 + bool(spec.pre_install) + bool(spec.post_install)

    def build(self) -> None:
        self._env.require_manager()
        with self._stage(f"making {self._spec.name} with {self._spec.manager}"):
            self._env.make_with_pip(self._tag)
        self._fill(self._request())

    def complete(self) -> bool:
        """Fill an env that exists. True when nothing was missing."""
        if not self._env.exists():
            raise EnvError(f"env {self._spec.name!r}: there is no env with a python at {self._env.prefix}")
        request, stamps = self._request(), installing.Stamps(self._env.prefix)
        if stamps.has(request):
            return True
        self._total -= 1
        self._fill(request)
        stamps.add(request)
        return False

    def _fill(self, request: installing.Request) -> None:
        self._commands("commands before the installation", self._spec.pre_install)
        with self._stage(f"installing the packages of {self._spec.name}"):
            self._env.install(request, self._tag)
        self._commands("commands after the installation", self._spec.post_install)
        with self._stage("trying it out"):
            self._env.call([self._env.python_executable, "-I", "-c", PROBE], self._tag)
        processes.end_tree(self._tag)  # what commands left running must not go on writing into a finished env

    def _request(self) -> installing.Request:
        spec = self._spec
        asked = [*spec.deps, *flattened(spec.requirements), *self._env.configured()]
        names = {package_name(line) for line in asked}
        asked += [line for line in WORKER_DEPS if package_name(line) not in names]
        return installing.Request(lines=tuple(asked), extra_index=spec.extra_index, find_links=spec.find_links)

    def _commands(self, what: str, commands: Sequence[str | Sequence[str]]) -> None:
        if not commands:
            return
        with self._stage(what):
            for command in commands:
                self._output(f"$ {processes.shown(command)}\n".encode())
                processes.check(
                    command, environ=self._env.environ(), cwd=self._env.prefix, output=self._output, tag=self._tag
                )

    @contextlib.contextmanager
    def _stage(self, message: str) -> Iterator[None]:
        self._say(message)
        yield
        self._done += 1

    def _output(self, data: bytes) -> None:
        self._log.write(data)
        self._log.flush()
        lines = [line for line in self._lines.add(data) if not line.startswith("$ ")]
        if lines and time.monotonic() - self._reported >= PROGRESS_INTERVAL:
            self._reported = time.monotonic()
            self._say(lines[-1].strip())

    def _say(self, message: str) -> None:
        self._report(Progress(message=message, done=self._done, total=self._total))


class _Stopped(BaseException):
    """A signal asked this process to end. Passes through everything that would carry on after an error."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m envs.build", description="Build the env of a spec, or find it.")
    parser.add_argument("--root", type=Path, default=default_root(), help="folder of the envs")
    parser.add_argument("--spec", required=True, help="a spec as JSON, or the name or path of one")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    log = ""
    try:
        spec = _read_spec(options.spec)
        root = options.root.expanduser().absolute()
        log = str(place_of(spec, root, spec.fingerprint).log)
        _print(build(spec, root, _print))
    except processes.CommandFailed as error:
        _print(Failed(message=str(error), command=error.command, tail=error.tail, log=log))
    except (SandboxError, OSError) as error:
        _print(Failed(message=str(error), log=log))
    except _Stopped as stopped:
        _print(Failed(message="cancelled", log=log))
        return 128 + int(stopped.args[0])
    else:
        return 0
    return 1


def _read_spec(text: str) -> EnvSpec:
    if not text.lstrip().startswith("{"):
        return load_spec(text)
    try:
        return msgspec.json.decode(text, type=EnvSpec)
    except (msgspec.DecodeError, ValueError) as error:
        raise EnvError(f"--spec is no env spec: {error}") from error


def _stop(number: int, frame: FrameType | None) -> None:
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # cleaning up is not to be cut short
        signal.signal(other, signal.SIG_IGN)
    raise _Stopped(number)


def _print(event: Ready | Progress | Failed) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more; whoever comes next finds the env
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
