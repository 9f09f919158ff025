"""The code that a worker imports and that may change under it: its component's folders, and what its env holds."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

MODULES = (".py", ".so")
NO_CODE = frozenset({"__pycache__", "node_modules"})
ENV_MARKS = ("pyvenv.cfg", "conda-meta")
"""Files that mark the folder of an env: packages in it do not belong to the code beside which it lies."""

SETTLED = 2.0
"""Seconds. Byte code identifies its source by size and by the whole second of its last change."""


@dataclass(frozen=True)
class Code:
    """Processes started with equal digests run the same code. `changed`: when a module last did, in Unix seconds."""

    digest: str = ""
    changed: float = 0.0

    def is_settled(self, now: float) -> bool:
        """Whether byte code written now cannot be mistaken for that of a later change."""
        return now - self.changed >= SETTLED


UNKNOWN = Code()
"""Of a worker whose code does not change while the daemon runs."""


class _DirInfo(msgspec.Struct, frozen=True):
    editable: bool = False


class _DirectUrl(msgspec.Struct, frozen=True):
    """`direct_url.json` of an installed package: where it came from."""

    url: str
    dir_info: _DirInfo = _DirInfo()


def read_code(python: str, folders: Sequence[str]) -> Code:
    """The code in `folders` and in the env of `python` as it is now. A file counts by name, size and time of change,
    an installed package by name, version and time; one that is installed editable, by its files where they lie."""
    total, changed, seen = hashlib.sha256(), 0.0, set[tuple[int, int]]()
    editable = []
    for site in sorted(Path(python).parent.parent.glob("lib/python3*/site-packages")):
        for package, status in _entries(str(site)):
            if package.name.endswith(".dist-info"):
                total.update(f"{package.name}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
                editable += _editable_folder(Path(package.path))
    for folder in [*folders, *editable]:
        total.update(f"{folder}\0".encode("utf-8", "surrogateescape"))
        for path, status in _modules(folder, seen):
            entry = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0"
            total.update(entry.encode("utf-8", "surrogateescape"))
            changed = max(changed, status.st_mtime)
    return Code(total.hexdigest(), changed)


def _editable_folder(package: Path) -> list[str]:
    """Where the code of an editable package lies; nothing for any other."""
    try:
        origin = msgspec.json.decode((package / "direct_url.json").read_bytes(), type=_DirectUrl)
    except (OSError, msgspec.DecodeError):
        return []
    return [unquote(urlsplit(origin.url).path)] if origin.dir_info.editable else []


def _modules(folder: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, os.stat_result]]:
    """The modules in and below a folder, links followed, each folder once; not those of envs that lie in it. A module
    may be given itself."""
    if folder.endswith(MODULES):
        with contextlib.suppress(OSError):
            yield folder, os.stat(folder)
    for entry, status in _entries(folder):
        if entry.name.endswith(MODULES):
            yield entry.path, status
        elif entry.is_dir() and (status.st_dev, status.st_ino) not in seen and _may_hold_code(entry):
            seen.add((status.st_dev, status.st_ino))
            yield from _modules(entry.path, seen)


def _may_hold_code(folder: os.DirEntry[str]) -> bool:
    if folder.name in NO_CODE or folder.name.startswith("."):
        return False
    return not any(os.path.exists(os.path.join(folder.path, mark)) for mark in ENV_MARKS)


def _entries(folder: str) -> list[tuple[os.DirEntry[str], os.stat_result]]:
    """What a folder holds, by name; what cannot be looked at is left out."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found.append((entry, entry.stat()))
    return sorted(found, key=lambda each: each[0].name)
