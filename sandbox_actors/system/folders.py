"""Folders that are trusted: what is in them is run, removed or connected to.

A folder is trusted if no other user can change what its path leads to, which three rules ensure:

- A folder on the way that every user may write to is sticky, as /tmp is, and what it contains of the way belongs to
  this user or root: anything else there, others could have made or could replace.
- A private folder itself belongs to this user, who alone may enter it. One that is looser is tightened. It is opened
  without following a link, so that what is checked is what is changed.
- What is removed is removed relative to such an opened folder, and no link is followed.

Members of a group that may write to a folder on the way are trusted: with a umask of 002, that is the user alone.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox_actors.errors import Refused
from sandbox_actors.files import is_trusted, make_folders

PRIVATE = 0o700

OTHERS_MAY, OTHERS_WRITE = 0o077, 0o022
"""Mode bits with which the group or everybody may do anything, and may write."""

MOST_LINKS = 40
"""Links on one way, as the kernel limits them."""


def make_private(folder: Path, way_out: str, *, may_be_link: bool = False) -> bool:
    """Make `folder`, or tighten it, so that it belongs to this user, who alone may enter it.

    Returns whether others could write to it until now. Raises Refused if it belongs to another user, others can replace
    it or have left something in it, or it is a link and must not be; the message ends with `way_out`.
    """
    with _explained(folder, way_out, "created"):
        make_folders(folder, PRIVATE)
    with private(folder, way_out, may_be_link=may_be_link) as descriptor, _explained(folder, way_out):
        mode = os.fstat(descriptor).st_mode
        if mode & OTHERS_MAY:
            os.fchmod(descriptor, PRIVATE)
            if os.fstat(descriptor).st_mode & OTHERS_MAY:
                raise OSError(errno.EPERM, "others may enter it, and its file system does not let that be changed")
        _require_own_entries(folder, descriptor, way_out)
    return bool(mode & OTHERS_WRITE)


def require_own_socket_folder(folder: Path, way_out: str) -> None:
    """Make `folder` if it is missing. Raises Refused unless only this user or root can replace a socket in it: it is
    theirs, and sticky if others may write to it."""
    with _explained(folder, way_out, "created"):
        make_folders(folder, PRIVATE)
    with _explained(folder, way_out):
        found = _real(folder, way_out).stat()
        is_shared = bool(found.st_mode & OTHERS_WRITE) and not found.st_mode & stat.S_ISVTX
    if is_shared or not is_trusted(found.st_uid) or not os.access(folder, os.W_OK):
        raise Refused(
            f"{folder}: other users could replace a socket there, or it cannot be created; "
            f"restrict the folder to yourself (chmod 700), or {way_out}"
        )


@contextmanager
def private(folder: Path, way_out: str, *, may_be_link: bool = False) -> Iterator[int]:
    """A descriptor of a folder that belongs to this user, and that no other user can replace. Raises Refused."""
    with _explained(folder, way_out):
        real = _real(folder, way_out, may_be_link=may_be_link)
        descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if (owner := os.fstat(descriptor).st_uid) != os.geteuid():
            raise Refused(f"{folder} belongs to another user (uid {owner}); {way_out}")
        yield descriptor
    finally:
        os.close(descriptor)


def remove_from(folder: Path, name: str) -> None:
    """Remove the file, link or folder `name` from a private folder, as far as that is possible. A folder that is not
    private is left as it is."""
    with suppress(OSError, Refused), private(folder, "") as descriptor:
        try:
            os.unlink(name, dir_fd=descriptor)
        except IsADirectoryError:
            shutil.rmtree(name, ignore_errors=True, dir_fd=descriptor)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that exists and is empty; a link to one is left as it is."""
    with suppress(OSError):
        folder.rmdir()


def _real(path: Path, way_out: str, *, may_be_link: bool = True) -> Path:
    """`path` without links. Raises Refused where others can change what it leads to, OSError where it does not exist,
    or is a link itself and must not be."""
    here, parts, links = Path(path.anchor), list(reversed(path.parts[1:])), 0
    while parts:
        step = here.parent if (part := parts.pop()) == ".." else here / part
        found = step.lstat()
        if part != ".." and (mode := here.stat().st_mode) & stat.S_IWOTH:
            if not mode & stat.S_ISVTX:
                raise Refused(f"every user may write to {here}, and replace {step}; make it sticky, or {way_out}")
            if not is_trusted(found.st_uid):
                raise Refused(f"{step} belongs to another user (uid {found.st_uid}); {way_out}")
        if not stat.S_ISLNK(found.st_mode):
            here = step
            continue
        links += 1
        if links > MOST_LINKS or not (parts or may_be_link):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = Path(os.readlink(step))
        here = Path(target.anchor) if target.is_absolute() else here
        parts += reversed(target.parts[1:] if target.is_absolute() else target.parts)
    return here


def _require_own_entries(folder: Path, descriptor: int, way_out: str) -> None:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # it has just been removed
                if not is_trusted((found := entry.stat(follow_symlinks=False)).st_uid):
                    raise Refused(
                        f"{folder / entry.name} belongs to another user (uid {found.st_uid}); remove it, or {way_out}"
                    )


@contextmanager
def _explained(folder: Path, way_out: str, verb: str = "used") -> Iterator[None]:
    """Translates an OSError into a Refused that names the folder and the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and folder.is_symlink():
            raise Refused(f"{folder} is a link, which is not followed there; remove it, or {way_out}") from error
        raise Refused(f"{folder} cannot be {verb}: {error.strerror}; {way_out}") from error
