"""Build the env of a spec, or find the one that was built before."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec
from msgspec.structs import replace

from envs import installer, processes
from envs.base import Env
from envs.env_folder import EnvFolder, Marker
from envs.requirement_files import flattened, package_name
from envs.router import env_of
from envs.specs import EnvSpec
from sandbox_actors.errors import EnvError
from sandbox_actors.files import make_folders, own_file

WORKER_DEPS = ("pyzmq>=26", "msgspec>=0.18")
"""What `sandbox_actors/worker` needs in an env."""
PROBE = "import msgspec, zmq"
PROGRESS_INTERVAL = 0.1
"""Seconds between two lines of an installer that are reported."""


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ready"):
    """A built env. `seconds` is the time that the build took; `reused` says that the env existed already."""

    python: str
    path: str
    fingerprint: str
    seconds: float
    reused: bool


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="progress"):
    """`done` of `total` stages are finished; `message` says what is being done."""

    message: str
    done: int | None = None
    total: int | None = None


Report = Callable[[Progress], object]


def folder_of(spec: EnvSpec, root: Path, fingerprint: str) -> EnvFolder:
    return EnvFolder(root / f"{spec.name}-{fingerprint[:12]}")


def find_built(spec: EnvSpec, root: Path, fingerprint: str = "") -> Ready | None:
    """The env of a spec, if it has been built and nothing that it was built from has changed since. Marks it as used.

    An env that its user manages (`path`) is found if it is known to contain what the spec asks for.
    """
    fingerprint = fingerprint or spec.fingerprint
    if spec.path:
        env = env_of(spec, Path(spec.path))
        is_complete = env.exists() and installer.Stamps(env.prefix).has(request_of(spec, env))
        return _ready(env.folder, fingerprint, 0.0, reused=True) if is_complete else None
    folder = folder_of(spec, root, fingerprint)
    marker = folder.read_marker()
    if marker is None or marker.fingerprint != fingerprint:
        return None
    folder.touch()
    return _ready(folder, fingerprint, marker.seconds, reused=True)


def requirements_of(spec: EnvSpec, env: Env) -> list[str]:
    """What a spec asks for, as lines of a requirements file. EnvError if a file that it names is missing."""
    return [*spec.deps, *flattened(spec.requirements), *env.configured()]


def request_of(spec: EnvSpec, env: Env) -> installer.Request:
    """Everything that is installed into the env of a spec, for one call of the resolver."""
    asked = requirements_of(spec, env)
    names = {package_name(line) for line in asked}
    asked += [line for line in WORKER_DEPS if package_name(line) not in names]
    asked += [f"-c {spec.lock}"] if spec.lock else []
    return installer.Request(
        lines=tuple(asked), extra_index=spec.extra_index, find_links=spec.find_links, no_deps=spec.no_deps
    )


def build(spec: EnvSpec, root: Path, report: Report = lambda _: None, fingerprint: str = "") -> Ready:
    """Build the env of a spec, or find it. If that fails, raises EnvError and leaves no env."""
    fingerprint = fingerprint or spec.fingerprint
    make_folders(root)
    folder = folder_of(spec, root, fingerprint)
    if ready := find_built(spec, root, fingerprint):
        return ready
    if spec.path:
        return _complete(spec, folder, fingerprint, report)
    with folder.claimed(waiting=lambda: report(Progress(message=f"waiting for another build of {spec.name}"))):
        if ready := find_built(spec, root, fingerprint):
            return ready
        control, started = processes.control(), time.time()
        with open(folder.log, "wb", opener=own_file) as log, folder.changing(control.tag):
            folder.clear()
            _Builder(spec, folder.prefix, log, report, control).build()
            seconds = round(time.time() - started, 3)
            marker = Marker(name=spec.name, manager=spec.manager, created=started, seconds=seconds)
            folder.write_marker(replace(marker, fingerprint=fingerprint, spec=msgspec.to_builtins(spec)))
    return _ready(folder, fingerprint, seconds, reused=False)


def _complete(spec: EnvSpec, folder: EnvFolder, fingerprint: str, report: Report) -> Ready:
    """Install what is missing in an env that its user manages."""
    started = time.time()
    with open(folder.log, "ab", opener=own_file) as log:
        _Builder(spec, Path(spec.path), log, report, processes.control()).complete()
    return _ready(EnvFolder(Path(spec.path)), fingerprint, round(time.time() - started, 3), reused=False)


def _ready(folder: EnvFolder, fingerprint: str, seconds: float, *, reused: bool) -> Ready:
    return Ready(
        python=str(folder.python), path=str(folder.prefix), fingerprint=fingerprint, seconds=seconds, reused=reused
    )


class _Builder:
    """The stages of one build. All output goes to the log; lines that an installer prints are reported as progress."""

    def __init__(self, spec: EnvSpec, prefix: Path, log: IO[bytes], report: Report, control: processes.Control) -> None:
        self._spec, self._log, self._report, self._control = spec, log, report, control
        self._env: Env = env_of(spec, prefix, self._output)
        self._lines, self._reported = processes.Tail(), 0.0
        self._done, self._total = 0, 3 + bool(spec.pre_install) + bool(spec.post_install)

    def build(self) -> None:
        self._env.require_manager()
        with self._stage(f"making {self._spec.name} with {self._spec.manager}"):
            self._env.make_with_pip(self._control)
        self._fill(request_of(self._spec, self._env))

    def complete(self) -> None:
        """Install what is missing in an existing env."""
        if not self._env.exists():
            raise EnvError(f"env {self._spec.name!r}: there is no env with a python at {self._env.prefix}")
        self._total -= 1  # the env is not created
        request = request_of(self._spec, self._env)
        self._fill(request)
        installer.Stamps(self._env.prefix).add(request)

    def _fill(self, request: installer.Request) -> None:
        self._commands("commands before the installation", self._spec.pre_install)
        with self._stage(f"installing the packages of {self._spec.name}"):
            self._env.install(request, self._control)
        self._commands("commands after the installation", self._spec.post_install)
        with self._stage("testing the env"):
            self._env.call([self._env.python_executable, "-I", "-c", PROBE], self._control)
        processes.end_tree(self._control.tag)  # what the commands left running must not write into a finished env

    def _commands(self, what: str, commands: Sequence[str | Sequence[str]]) -> None:
        if not commands:
            return
        with self._stage(what):
            for command in commands:
                self._output(f"$ {processes.shown(command)}\n".encode())
                processes.check(
                    command,
                    environ=self._env.environ(),
                    control=self._control,
                    cwd=self._env.prefix,
                    output=self._output,
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
