"""Envs for workers: found again, or built once by a process of their own however many experiments want them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from envs.builder import Ready, find_built
from envs.router import env_of
from envs.specs import SPEC_FOLDER, EnvSpec
from sandbox_actors.errors import EnvError
from sandbox_actors.protocol.rows import ProgressBar

OnProgress = Callable[[ProgressBar], None]

CANCEL_GRACE = 5.0
"""Seconds that a builder has to stop its installer and clear what is half made."""

FROZEN = {"PYTHONUNBUFFERED": "1", "UV_OFFLINE": "1", "UV_NO_CACHE": "1", "PIP_NO_INDEX": "1"}
"""Nothing is installed into an env while it is in use. Some libraries try when they miss another one: with these
variables that fails, in child processes too."""

_threads = trio.CapacityLimiter(4)


@dataclass(frozen=True)
class ReadyEnv:
    """An env that holds: its spec's name, its interpreter, and the environment variables of a process in it."""

    name: str
    python: str
    environ: Mapping[str, str]


@dataclass
class _Build:
    """One build under way, and who waits for it."""

    done: trio.Event = field(default_factory=trio.Event)
    cancel: trio.CancelScope = field(default_factory=trio.CancelScope)
    waiting: list[OnProgress] = field(default_factory=list)
    ready: Ready | None = None
    failure: str = ""


class Environments:
    """Envs below `root`. `run` is its life: builds are its children, not those of the jobs that want them."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self._root, self._environ = root, environ
        self._builds: dict[str, _Build] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def ensure(self, spec: EnvSpec, on_progress: OnProgress) -> ReadyEnv:
        """The env of `spec`. Building it is reported to `on_progress`, and ends when nobody waits for it any more.

        Raises EnvError with the command that failed and its last lines.
        """
        key, found = await trio.to_thread.run_sync(self._find, spec, limiter=_threads)
        if found is not None:
            return found
        build = self._builds.get(key)
        if build is None:
            build = self._builds[key] = _Build()
            self._nursery.start_soon(self._build, spec, key, build)
        build.waiting.append(on_progress)
        try:
            await build.done.wait()
        finally:
            build.waiting.remove(on_progress)
            if not build.waiting:
                build.cancel.cancel()
        if build.ready is None:
            raise EnvError(build.failure or f"the builder of env {spec.name} was ended; its log is in {self._root}")
        return self._ready(spec, build.ready)

    async def find(self, spec: EnvSpec) -> ReadyEnv | None:
        """The env of `spec` if it has been built. Raises EnvError where a file that the spec names is missing."""
        return (await trio.to_thread.run_sync(self._find, spec, limiter=_threads))[1]

    def at(self, env: ReadyEnv) -> ReadyEnv:
        """An env that was ready before, whatever its spec says by now, with the variables of a process in it."""
        prefix = Path(env.python).parent.parent
        environ = env_of(EnvSpec(name=env.name, path=str(prefix)), prefix).environ(self._environ)
        return ReadyEnv(env.name, env.python, {**environ, **FROZEN})

    def _find(self, spec: EnvSpec) -> tuple[str, ReadyEnv | None]:
        """The fingerprint of `spec`, and its env if it has been built."""
        key = spec.fingerprint
        built = find_built(spec, self._root, key)
        return key, None if built is None else self._ready(spec, built)

    def _ready(self, spec: EnvSpec, built: Ready) -> ReadyEnv:
        environ = env_of(spec, Path(built.path)).environ(self._environ)
        return ReadyEnv(spec.name, built.python, {**environ, **FROZEN})

    async def _build(self, spec: EnvSpec, key: str, build: _Build) -> None:
        command = [sys.executable, "-m", "envs.build_command", "--root", str(self._root)]
        command += ["--spec", msgspec.json.encode(spec).decode()]
        try:
            with build.cancel:
                async with trio.open_nursery() as nursery:
                    start = partial(trio.run_process, deliver_cancel=_end_builder, start_new_session=True, check=False)
                    process = await nursery.start(
                        partial(start, command, stdin=b"", stdout=subprocess.PIPE, cwd=SPEC_FOLDER.parents[1])
                    )
                    async for line in _lines(process.stdout):
                        self._take(build, msgspec.json.decode(line))
        finally:
            del self._builds[key]
            build.done.set()

    def _take(self, build: _Build, told: dict[str, Any]) -> None:
        if told["event"] == "ready":
            build.ready = msgspec.convert(told, Ready)
        elif told["event"] == "failed":
            build.failure = told["message"] + (f"\nthe whole log: {told['log']}" if told.get("log") else "")
        else:
            bar = ProgressBar(label=told["message"], done=told.get("done") or 0, total=told.get("total"))
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
