"""Envs for workers: found if they exist, else built once, by a separate process, for all the jobs that need them.

Theory of operation. Whether an env exists is read from its folder, in a thread of the caller, without the actor. Which
builds there are is decided in the inbox. The first job that needs an env starts its build, which is a task of this
actor and not of the job; other jobs join it. When the last job that waits has left (it was cancelled), the build is
cancelled, and from that message on no job joins it: the next job that needs the env starts a new build, whose process
waits for the lock of the env's folder until the old one has removed the incomplete env (`envs/env_folder.py`). A killed
builder leaves an incomplete env, which the next one removes.

What an env contains is read from its folder too, and kept until something is installed or removed in it. Two threads
may read it at the same time: both get the same record, and one of the two is kept.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from envs.build_command import Event, Failed, command_for
from envs.builder import Ready, find_built
from envs.installer import installed_digest
from envs.record import record_of
from envs.router import env_of
from envs.specs import EnvSpec
from sandbox_actors.actors.actor import Actor
from sandbox_actors.errors import EnvError, leaves
from sandbox_actors.files import PACKAGES
from sandbox_actors.protocol.frames import Request
from sandbox_actors.protocol.rows import EnvRecord, ProgressBar

log = logging.getLogger(__name__)

OnProgress = Callable[[ProgressBar], None]

CANCEL_GRACE = 5.0
"""Seconds in which a builder must end its installer and remove the incomplete env."""

FROZEN = {"PYTHONUNBUFFERED": "1", "UV_OFFLINE": "1", "UV_NO_CACHE": "1", "PIP_NO_INDEX": "1"}
"""Nothing is installed into an env while it is in use. Some libraries try to install packages that they miss: with
these variables that fails, in child processes too."""

_threads = trio.CapacityLimiter(4)


@dataclass(frozen=True)
class ReadyEnv:
    """A complete env: the name of its spec, its interpreter, and the environment variables of a process in it."""

    name: str
    python: str
    environ: Mapping[str, str]

    @property
    def prefix(self) -> Path:
        return Path(self.python).parent.parent


@dataclass(eq=False)
class Build:
    """One build, and the callbacks of those that wait for it."""

    spec: EnvSpec
    key: str
    done: trio.Event = field(default_factory=trio.Event)
    cancel: trio.CancelScope = field(default_factory=trio.CancelScope)
    waiting: list[OnProgress] = field(default_factory=list)
    ready: Ready | None = None
    failure: str = ""


class JoinBuild(Request[Build], frozen=True, kw_only=True):
    """The build of `spec`, whose fingerprint is `key`: the one under way, or a new one. To be left by `LeaveBuild`."""

    spec: EnvSpec
    key: str
    on_progress: OnProgress


class LeaveBuild(Request[None], frozen=True, kw_only=True):
    """Stop waiting for a build."""

    build: Build
    on_progress: OnProgress


class Environments(Actor):
    """The envs in `root`. `environ` are the environment variables of the daemon."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        super().__init__("environments")
        self._root, self._environ = root, environ
        self._builds: dict[str, Build] = {}
        self._records: dict[Path, tuple[EnvSpec, str, EnvRecord]] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            await super().run(task_status=task_status)

    async def on_receive(self, message: Request[Any]) -> Any:
        match message:
            case JoinBuild():
                return self._join(message)
            case LeaveBuild():
                self._leave(message)
        return None

    def _join(self, message: JoinBuild) -> Build:
        build = self._builds.get(message.key)
        if build is None:
            build = self._builds[message.key] = Build(message.spec, message.key)
            self._nursery.start_soon(self._build, build)
        build.waiting.append(message.on_progress)
        return build

    def _leave(self, message: LeaveBuild) -> None:
        build = message.build
        build.waiting.remove(message.on_progress)
        if not build.waiting and not build.done.is_set():
            build.cancel.cancel()
            self._forget(build)

    def _forget(self, build: Build) -> None:
        """The build has ended, or is being cancelled: no job joins it."""
        if self._builds.get(build.key) is build:
            del self._builds[build.key]

    async def ensure(self, spec: EnvSpec, on_progress: OnProgress) -> ReadyEnv:
        """The env of `spec`. Building it is reported to `on_progress`, and ends when no job waits for it.

        Raises EnvError with the command that failed and its last lines.
        """
        key, found = await trio.to_thread.run_sync(self._find, spec, limiter=_threads)
        if found is not None:
            return found
        with trio.CancelScope(shield=True):  # a build that was joined must be left, or it would never end
            build = await self.ask(JoinBuild(spec=spec, key=key, on_progress=on_progress))
        try:
            await build.done.wait()
        finally:
            self.notify(LeaveBuild(build=build, on_progress=on_progress))
        if build.ready is None:
            raise EnvError(build.failure or f"the builder of env {spec.name} was killed; its log is in {self._root}")
        return self._ready(spec, build.ready)

    async def find(self, spec: EnvSpec) -> ReadyEnv | None:
        """The env of `spec` if it has been built. Raises EnvError where a file that the spec names is missing."""
        return (await trio.to_thread.run_sync(self._find, spec, limiter=_threads))[1]

    async def record(self, spec: EnvSpec, env: ReadyEnv) -> EnvRecord:
        """What the env of `spec` contains now. Raises EnvError where a file that the spec names is missing."""
        return await trio.to_thread.run_sync(self._record, spec, env.prefix, limiter=_threads)

    def at(self, env: ReadyEnv) -> ReadyEnv:
        """An env of an earlier run, with the variables of a process in it, even if its spec has changed since."""
        environ = env_of(EnvSpec(name=env.name, path=str(env.prefix)), env.prefix).environ(self._environ)
        return ReadyEnv(env.name, env.python, {**environ, **FROZEN})

    def _find(self, spec: EnvSpec) -> tuple[str, ReadyEnv | None]:
        """The fingerprint of `spec`, and its env if it has been built."""
        key = spec.fingerprint
        built = find_built(spec, self._root, key)
        return key, None if built is None else self._ready(spec, built)

    def _ready(self, spec: EnvSpec, built: Ready) -> ReadyEnv:
        environ = env_of(spec, Path(built.path)).environ(self._environ)
        return ReadyEnv(spec.name, built.python, {**environ, **FROZEN})

    def _record(self, spec: EnvSpec, prefix: Path) -> EnvRecord:
        """Read again if something was installed or removed since."""
        try:
            installed = installed_digest(prefix)
            last = self._records.get(prefix)
            if last is None or last[:2] != (spec, installed):
                last = self._records[prefix] = spec, installed, record_of(spec, prefix)
        except OSError as error:
            raise EnvError(f"env {spec.name} cannot be read: {error}") from error
        return last[2]

    async def _build(self, build: Build) -> None:
        """Whatever goes wrong in a build is the failure of that build."""
        try:
            with build.cancel:
                await self._run_builder(build)
        except Exception as error:
            log.warning("the build of env %s met an error of the daemon", build.spec.name, exc_info=error)
            build.failure = f"env {build.spec.name} cannot be built: {'; '.join(map(str, leaves(error)))}"
        finally:
            self._forget(build)
            build.done.set()

    async def _run_builder(self, build: Build) -> None:
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, deliver_cancel=_end_builder, start_new_session=True, check=False)
            spec = msgspec.json.encode(build.spec)
            process = await nursery.start(
                partial(start, command_for(self._root), stdin=spec, stdout=subprocess.PIPE, cwd=PACKAGES)
            )
            async for line in _lines(process.stdout):
                self._take(build, msgspec.json.decode(line, type=Event))

    def _take(self, build: Build, event: Event) -> None:
        if isinstance(event, Ready):
            build.ready = event
        elif isinstance(event, Failed):
            build.failure = event.text
        else:
            bar = ProgressBar(label=event.message, done=event.done or 0, total=event.total)
            for on_progress in build.waiting:
                on_progress(bar)


async def _lines(stream: Any) -> Any:
    rest = b""
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line


async def _end_builder(process: trio.Process) -> None:
    process.send_signal(signal.SIGTERM)
    await trio.sleep(CANCEL_GRACE)
    os.killpg(process.pid, signal.SIGKILL)
