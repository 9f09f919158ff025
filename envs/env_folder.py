"""The folder of one env, and the lock under which it is created and removed.

Theory of operation. Any number of processes may want to create, use or remove the same env, and any of them may be
killed at any time.

An env is created at its final path, because scripts and links in it contain that path. So the folder alone does not
show whether the env is complete; the file `<path>.lock` beside it does:

- A process that creates or removes the env holds an exclusive `flock` on it (`claimed`). The kernel releases it when
  the process ends, however that happens, so that no lock is ever stale. Other processes wait, or give up (`waiting`).
- While the folder is being changed, the file contains a claim (`changing`): the tag that the commands of the holder
  carry in their environment. The file is emptied when the change is complete.
- No lock file, or an empty one, and a python: the env is complete. A file that is not empty: a process is changing the
  env if the file is locked, and was killed while it changed it if the file is not locked.
- The next holder after a killed one first ends the commands that still carry its tag, since these would write into
  the folder. What was left in the folder is removed before an env is created there, and by `prune`.
- A holder that leaves no claim unlinks the lock file before it releases the lock. A process that waited has then
  locked a file without a name: it compares that file with the one at the path, and starts again if they differ.

Using an env, and adding packages to one, takes no lock. `inventory.py` does not remove an env whose python runs; one
that was found may be removed before its python starts, and then its job fails. The marker inside a finished env is
written last; its modification time is the time of the env's last use. An env that its user manages has no marker, and
is never removed.
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
from sandbox_actors.files import make_folders, own_file, write_whole
from sandbox_actors.home import sandbox_home

MARKER = ".sandbox-env.json"


class Marker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Facts about a finished env. `spec` is plain data; an env made by `Env.create` has none. Times in Unix seconds."""

    name: str
    manager: str
    created: float
    seconds: float
    fingerprint: str = ""
    spec: dict[str, Any] = {}


class _Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the lock file. `tag` is what the commands of the holder carry in their environment."""

    pid: int
    tag: str


def default_root() -> Path:
    """The folder of this user's envs."""
    return sandbox_home() / "envs"


class EnvFolder:
    """The folder of one env, and the files beside it."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.python = prefix / "bin" / "python"
        self.marker = prefix / MARKER
        self.lock = prefix.with_name(f"{prefix.name}.lock")
        self.log = prefix.with_name(f"{prefix.name}.log")

    def is_finished(self) -> bool:
        """Whether there is a python, and the env is complete."""
        try:
            return self.python.exists() and not (self.lock.exists() and self.lock.stat().st_size)
        except OSError:
            return False

    def read_marker(self) -> Marker | None:
        """The marker of a finished env, or None."""
        if not self.is_finished():
            return None
        try:
            return msgspec.json.decode(self.marker.read_bytes(), type=Marker)
        except (OSError, msgspec.DecodeError):
            return None

    def write_marker(self, marker: Marker) -> None:
        write_whole(self.marker, msgspec.json.encode(marker))

    def touch(self) -> None:
        """Record that the env is used now."""
        with contextlib.suppress(OSError):  # an env that its user manages has no marker, and may be read-only
            os.utime(self.marker)

    def last_used(self) -> float:
        """Unix seconds; 0 for an env without a marker."""
        try:
            return self.marker.stat().st_mtime
        except OSError:
            return 0.0

    def is_claimed(self) -> bool:
        """Whether a process is creating or removing the env."""
        try:
            descriptor = own_file(self.lock, os.O_RDWR)
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
        """Hold the lock in the block, after ending the commands of a killed holder. Calls `waiting` before it waits."""
        try:
            make_folders(self.prefix.parent)
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
        """Within `claimed`: the env is incomplete until the block ends, and is removed if it ends with an error."""
        with open(self.lock, "wb", opener=own_file) as lock:
            lock.write(msgspec.json.encode(_Claim(pid=os.getpid(), tag=tag)))
        try:
            yield
        except BaseException:
            self.clear()
            os.truncate(self.lock, 0)
            raise
        os.truncate(self.lock, 0)

    def is_left_over(self) -> bool:
        """Within `claimed`: whether the folder is what a killed process left of an env."""
        return self.lock.stat().st_size > 0 and self.prefix.exists()

    def clear(self) -> None:
        """Within `claimed`: remove the env, complete or not."""
        if self.prefix.is_symlink() or self.prefix.is_file():
            raise EnvError(f"{self.prefix} is not a folder: remove it, since an env has that path")
        for _ in range(3):  # a process that is being killed may still write
            shutil.rmtree(self.prefix, ignore_errors=True)
            if not self.prefix.exists():
                return
            time.sleep(0.05)
        raise EnvError(f"{self.prefix} cannot be removed: check its permissions, and remove it by hand")

    def _locked(self, waiting: Callable[[], object]) -> int:
        while True:
            descriptor = own_file(self.lock, os.O_RDWR | os.O_CREAT)
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
            os.close(descriptor)  # the last holder unlinked it: see the theory of operation

    def _end_strays(self, descriptor: int) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            claim = msgspec.json.decode(os.pread(descriptor, 4096, 0), type=_Claim)
            processes.end_tree(claim.tag)
