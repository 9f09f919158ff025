"""Envs for workers: found again, or built once by a process of their own however many experiments want them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from envs.specs import EnvSpec
from sandbox_actors.errors import EnvError
from sandbox_actors.messages import ProgressBar

OnProgress = Callable[[ProgressBar], None]

CANCEL_GRACE = 5.0
"""Seconds that a builder has to stop its installer and clear what is half made."""


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
    answer: dict[str, Any] | None = None


class Environments:
    """Envs below `root`. `run` is its life: builds are its children, not those of the jobs that want them."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self._root, self._environ = root, environ
        self._ready: dict[str, ReadyEnv] = {}
        self._builds: dict[str, _Build] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def ensure(self, spec: EnvSpec, on_progress: OnProgress) -> ReadyEnv:
        """The env of `spec`. Building it is reported to `on_progress`, and ends when nobody waits for it any more.

        Raises EnvError with the command that failed and its last lines.
        """
        key = spec.fingerprint
        ready = self._ready.get(key)
        if ready is not None and Path(ready.python).exists():
            return ready
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
        return self._settled(spec, key, build.answer)

    def _settled(self, spec: EnvSpec, key: str, answer: dict[str, Any] | None) -> ReadyEnv:
        if answer is None:
            raise EnvError(f"the builder of env {spec.name} ended without an answer: see its log below {self._root}")
        if answer["event"] != "ready":
            raise EnvError(answer["message"])
        ready = ReadyEnv(spec.name, answer["python"], worker_environ(self._environ))
        self._ready[key] = ready
        return ready

    async def _build(self, spec: EnvSpec, key: str, build: _Build) -> None:
        command = [sys.executable, "-m", "envs.build", "--root", str(self._root)]
        command += ["--spec", msgspec.json.encode(spec).decode()]
        try:
            with build.cancel:
                async with trio.open_nursery() as nursery:
                    start = partial(trio.run_process, deliver_cancel=_end_builder, start_new_session=True, check=False)
                    process = await nursery.start(
                        partial(start, command, stdin=b"", stdout=-1, capture_stdout=False, cwd=_source_root())
                    )
                    async for line in _lines(process.stdout):
                        self._take(build, msgspec.json.decode(line))
        finally:
            del self._builds[key]
            build.done.set()

    def _take(self, build: _Build, told: dict[str, Any]) -> None:
        if told["event"] != "progress":
            build.answer = told
            return
        bar = ProgressBar(label=told["message"], done=told.get("done") or 0, total=told.get("total"))
        for on_progress in build.waiting:
            on_progress(bar)


def worker_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process in an env: those of the daemon without what belongs to its own Python.

    Nothing may be installed into an env while it is in use; some libraries do so by themselves when they miss another
    one. The variables of uv and pip make that fail in child processes too.
    """
    own = ("PYTHON", "VIRTUAL_ENV", "CONDA", "_CONDA", "CONDA_PREFIX", "PIP_", "UV_", "SANDBOX_")
    kept = {name: value for name, value in environ.items() if not name.startswith(own)}
    return {**kept, "PYTHONUNBUFFERED": "1", "UV_OFFLINE": "1", "UV_NO_CACHE": "1", "PIP_NO_INDEX": "1"}


def _source_root() -> str:
    """The folder that `envs` is imported from, so that the builder finds it too."""
    import envs

    return str(Path(envs.__file__).parents[1])


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
