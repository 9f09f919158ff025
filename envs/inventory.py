"""The envs in one folder: their state, size, last use and processes, and their removal."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from envs import processes
from envs.env_folder import EnvFolder
from sandbox_actors.errors import NotFound, Refused, did_you_mean


class BuiltEnv(msgspec.Struct, frozen=True, kw_only=True):
    """One env. `state` is ready, building, or unfinished (its builder was killed). Times in Unix seconds.

    `size_bytes` is what its files take on disk; `own_bytes` is the part that is not shared with an installer's cache,
    which removing the env frees. `pids` are the processes that run its python. An env that was made by `Env.create` has
    no fingerprint and no spec.
    """

    name: str
    path: str
    state: str
    manager: str = ""
    fingerprint: str = ""
    spec: dict[str, Any] = {}
    created: float = 0.0
    seconds: float = 0.0
    last_used: float = 0.0
    size_bytes: int = 0
    own_bytes: int = 0
    pids: list[int] = []


Refuse = Callable[[BuiltEnv], str]
"""Why an env must not be removed; empty if it may be."""


def list_envs(root: Path, *, with_sizes: bool = True) -> list[BuiltEnv]:
    """Every env in `root`, by name, the last used first. Computing the sizes of large envs takes a moment."""
    running = _running()
    folders = (EnvFolder(path) for path in root.iterdir() if path.is_dir()) if root.is_dir() else ()
    found = [env for folder in folders if (env := _described(folder, running, with_sizes))]
    return sorted(found, key=lambda env: (env.name, -env.last_used))


def find_env(root: Path, wanted: str) -> BuiltEnv:
    """The env of that name, folder name, path, or beginning of a fingerprint. NotFound if there is not exactly one."""
    envs = list_envs(root)
    exact = [env for env in envs if wanted in (env.path, Path(env.path).name)]
    found = exact or [env for env in envs if wanted == env.name or (wanted and env.fingerprint.startswith(wanted))]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(Path(env.path).name for env in found)
        raise NotFound(f"several envs are called {wanted!r}: name one of {names}")
    known = [name for env in envs for name in (env.name, Path(env.path).name)]
    raise NotFound(f"there is no env {wanted!r} under {root}{did_you_mean(wanted, known)}")


def remove_env(root: Path, wanted: str, refuse: Refuse = lambda _: "") -> BuiltEnv:
    """Remove an env with its log, and return what it was. Raises Refused if it is being built or removed, if it is in
    use, or if `refuse` gives a reason."""
    env = find_env(root, wanted)
    _remove(env, refuse)
    return env


def prune(root: Path, unused_seconds: float, refuse: Refuse = lambda _: "") -> list[BuiltEnv]:
    """Remove what killed builders left, envs not used for that long, and logs of builds that failed as long ago.

    Returns the envs that are gone; those in use, and those that `refuse` objects to, are not.
    """
    now, gone = time.time(), []
    for env in list_envs(root):
        if is_due(env, unused_seconds):
            with contextlib.suppress(Refused):
                _remove(env, refuse)
                gone.append(env)
    for log in root.glob("*.log"):
        with contextlib.suppress(FileNotFoundError):
            if not log.with_suffix("").exists() and now - log.stat().st_mtime >= unused_seconds:
                log.unlink()
    return gone


def is_due(env: BuiltEnv, unused_seconds: float) -> bool:
    """Whether `prune` removes `env` unless it is in use."""
    is_unused = time.time() - env.last_used >= unused_seconds
    return env.state == "unfinished" or (env.state == "ready" and is_unused)


def disk_usage(folder: Path) -> tuple[int, int]:
    """Bytes that the files in a folder take on disk, and how many of these are not shared with files elsewhere."""
    total = own = 0
    seen: dict[tuple[int, int], int] = {}
    for status in _statuses(str(folder)):
        key = (status.st_dev, status.st_ino)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 1:
            total += status.st_blocks * 512
        if seen[key] == status.st_nlink:
            own += status.st_blocks * 512
    return total, own


def _remove(env: BuiltEnv, refuse: Refuse) -> None:
    folder = EnvFolder(Path(env.path))

    def is_being_made() -> None:
        raise Refused(f"env {env.name!r} is being built or removed by another process; try again when that has ended")

    with folder.claimed(waiting=is_being_made):
        if why := refuse(env):
            raise Refused(why)
        if pids := _running().get(os.path.realpath(env.path)):
            raise Refused(f"env {env.name!r} is in use by {_processes(pids)}; stop what runs in it first")
        with folder.changing(processes.control().tag):
            folder.clear()
        folder.log.unlink(missing_ok=True)


def _processes(pids: list[int]) -> str:
    return f"process{'es' if len(pids) > 1 else ''} {', '.join(map(str, pids))}"


def _described(folder: EnvFolder, running: dict[str, list[int]], with_sizes: bool) -> BuiltEnv | None:
    """None for a folder that is not an env."""
    marker = folder.read_marker()
    if marker is None and not folder.lock.exists():
        return None
    size, own = disk_usage(folder.prefix) if with_sizes else (0, 0)
    common: dict[str, Any] = {"path": str(folder.prefix), "size_bytes": size, "own_bytes": own}
    common["pids"] = running.get(os.path.realpath(folder.prefix), [])
    if marker is None:
        state = "building" if folder.is_claimed() else "unfinished"
        return BuiltEnv(name=folder.prefix.name, state=state, **common)
    return BuiltEnv(
        name=marker.name,
        state="ready",
        manager=marker.manager,
        fingerprint=marker.fingerprint,
        spec=marker.spec,
        created=marker.created,
        seconds=marker.seconds,
        last_used=folder.last_used(),
        **common,
    )


def _running() -> dict[str, list[int]]:
    """Processes by the env whose python they were started with."""
    found: dict[str, list[int]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            command = process.cmdline()
            program = Path(command[0]) if command else Path()
            if program.parent.name == "bin" and program.is_absolute():
                found.setdefault(os.path.realpath(program.parent.parent), []).append(process.pid)
    return found


def _statuses(folder: str) -> Iterator[os.stat_result]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                yield entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    yield from _statuses(entry.path)
