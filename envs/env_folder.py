"""Where envs lie, and who may make or remove one: files that hold also when processes are killed.

An env is made at its final path, since scripts and links in it name that path. What tells a finished one from a
half-made one lies beside it: `<path>.lock`, locked while someone makes or removes the env and not empty until that is
done. An env built from a spec also has a marker inside, written last, whose time is that of the env's last use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from envs import processes
from sandbox_actors.errors import EnvError
from sandbox_actors.files import write_whole
from sandbox_actors.home import sandbox_home

MARKER = ".sandbox-env.json"


class Marker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a finished env. `spec` is plain data; an env made by `Env.create` has none. Unix seconds."""

    name: str
    manager: str
    created: float
    seconds: float
    fingerprint: str = ""
    spec: dict[str, Any] = {}


class _Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the lock file. The tag is that of the commands that the holder runs."""

    pid: int
    tag: str


def default_root() -> Path:
    """The folder of the envs that belong to this user."""
    return sandbox_home() / "envs"


class EnvFolder:
    """The path of one env, with what lies beside it."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.python = prefix / "bin" / "python"
        self.marker = prefix / MARKER
        self.lock = prefix.with_name(f"{prefix.name}.lock")
        self.log = prefix.with_name(f"{prefix.name}.log")

    def is_finished(self) -> bool:
        """There is an env with a python that can be called, and nobody left it half-made."""
        try:
            return self.python.exists() and not (self.lock.exists() and self.lock.stat().st_size)
        except OSError:
            return False

    def read_marker(self) -> Marker | None:
        """The marker of a finished env; None where there is none."""
        if not self.is_finished():
            return None
        try:
            return msgspec.json.decode(self.marker.read_bytes(), type=Marker)
        except (OSError, msgspec.DecodeError):
            return None

    def write_marker(self, marker: Marker) -> None:
        write_whole(self.marker, msgspec.json.encode(marker))

    def touch(self) -> None:
        """The env is being used."""
        with contextlib.suppress(OSError):  # one that its user manages has no marker, or may not be written to
            os.utime(self.marker)

    def last_used(self) -> float:
        """Unix seconds; 0 for an env that keeps no account of it."""
        try:
            return self.marker.stat().st_mtime
        except OSError:
            return 0.0

    def is_claimed(self) -> bool:
        """Someone makes or removes the env just now."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @contextlib.contextmanager
    def claimed(self, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Hold the lock, having ended whatever a killed holder left running. Calls `waiting` if it has to wait."""
        try:
            self.prefix.parent.mkdir(parents=True, exist_ok=True)
            descriptor = self._locked(waiting)
        except OSError as error:
            raise EnvError(f"{self.prefix}: cannot be locked: {error}") from error
        try:
            self._end_strays(descriptor)
            yield
        except OSError as error:
            raise EnvError(f"{self.prefix}: {error}") from error
        finally:
            if not os.fstat(descriptor).st_size:
                self.lock.unlink(missing_ok=True)
            os.close(descriptor)

    @contextlib.contextmanager
    def changing(self, tag: str) -> Iterator[None]:
        """Within `claimed`: the env counts as unfinished until the block ends, and is gone when it ends in an error."""
        self.lock.write_bytes(msgspec.json.encode(_Claim(pid=os.getpid(), tag=tag)))
        try:
            yield
        except BaseException:
            self.clear()
            os.truncate(self.lock, 0)
            raise
        os.truncate(self.lock, 0)

    def is_left_over(self) -> bool:
        """Within `claimed`: what lies there is what a killed process had made of an env, or had left of it."""
        return self.lock.stat().st_size > 0 and self.prefix.exists()

    def clear(self) -> None:
        """Within `claimed`: remove the env, or what there is of it."""
        if self.prefix.is_symlink() or self.prefix.is_file():
            raise EnvError(f"{self.prefix} is in the way: it is no folder")
        for _ in range(3):  # a process that is just being killed may still be writing
            shutil.rmtree(self.prefix, ignore_errors=True)
            if not self.prefix.exists():
                return
            time.sleep(0.05)
        raise EnvError(f"{self.prefix} cannot be removed; look at its permissions, and remove it by hand")

    def _locked(self, waiting: Callable[[], object]) -> int:
        while True:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    waiting()
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), self.lock.stat()):
                        return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its last holder unlinked it

    def _end_strays(self, descriptor: int) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            claim = msgspec.json.decode(os.pread(descriptor, 4096, 0), type=_Claim)
            processes.end_tree(claim.tag)
