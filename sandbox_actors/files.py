"""Paths that users give, folders, files that are there whole or not at all, and the end of one still written to.

Standard library only, on Python 3.10 and later: component envs and their workers write files too.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sandbox_actors.errors import ConfigError, Problem

PACKAGES = Path(__file__).resolve().parents[1]
"""The folder in which Python finds this project's packages: the current one of every process that runs a module of it,
where it may not be installed."""

TAIL_BYTES = 4096


def user_path(path: str | os.PathLike[str]) -> Path:
    """`path` with `~` or `~user` replaced. Raises ConfigError where no home folder is known for that."""
    found = os.path.expanduser(path)
    if found.startswith("~"):
        user = found.partition("/")[0]
        raise ConfigError([Problem(found, "", f"no home folder is known for {user}: give an absolute path")])
    return Path(found)


def make_folders(folder: Path, mode: int = 0o755) -> None:
    """Make `folder`, and what is missing above it, with this mode at most; even without a umask, no other user may
    write there. Raises OSError."""
    if not folder.parent.exists():
        make_folders(folder.parent, mode)
    try:
        os.mkdir(folder, mode)
    except FileExistsError:
        if not folder.is_dir():
            raise


def is_trusted(uid: int) -> bool:
    """Whether what belongs to this user may be relied on: it is ours, or root's, who may do anything anyway."""
    return uid in (os.geteuid(), 0)


def own_file(path: str | os.PathLike[str], flags: int) -> int:
    """The `opener` for a file of ours whose name others can guess: a link that was put there is not followed, a file of
    another user is not used, and a new one can be read by this user only. Raises OSError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if is_trusted(os.fstat(descriptor).st_uid):
        return descriptor
    os.close(descriptor)
    raise PermissionError(errno.EPERM, "it belongs to another user", os.fspath(path))


@contextmanager
def whole_file(path: Path, *, mode: int = 0o666, is_durable: bool = False) -> Iterator[BinaryIO]:
    """A file to be written, which replaces `path` when the block ends well, and is removed when it does not.

    Until then it lies beside `path` under a name that cannot be guessed, and is made there: a link that somebody has
    put in its place is never followed. `mode` is subject to the umask. `is_durable`: it is flushed to the disk before
    it gets its name, so that a power cut leaves the old file or the new one. Raises OSError.
    """
    unfinished = path.with_name(f".{secrets.token_hex(8)}.unfinished")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(unfinished, flags, mode), "wb") as file:
            yield file
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


def write_whole(path: Path, data: bytes, *, mode: int = 0o666, is_durable: bool = False) -> None:
    """Write `data` as `whole_file` does. Raises OSError."""
    with whole_file(path, mode=mode, is_durable=is_durable) as file:
        file.write(data)


def tail(path: Path, lines: int, *, start: int = 0) -> str:
    """The last lines that are not blank, from byte `start` on, of the last `TAIL_BYTES` bytes; "" if unreadable."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(start, file.tell() - TAIL_BYTES))
            data = file.read()
    except OSError:
        return ""
    text = data.decode("utf-8", "replace").replace("\r", "\n")
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
