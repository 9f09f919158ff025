"""Digests of what an env is built from. Equal digests mean that one env serves both."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from envs.requirement_files import local_path
from sandbox_actors.errors import EnvError
from sandbox_actors.files import user_path

LAYOUT = 1
"""Increased when envs are built differently, so that envs built by earlier versions are not used."""

SKIPPED = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", "node_modules", "build", "dist", ".tox", ".eggs"}
    | {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints"}
)
METADATA = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in", "requirements*.txt", "requirements/*.txt")
WHOLE = 1024 * 1024
"""Bytes. A file up to this size counts by its content; a larger one (weights, data) by its size and time."""


def host_python() -> str:
    """The python of envs whose specs name none."""
    version = ".".join(map(str, sys.version_info[:2]))
    return f"{sys.implementation.name}-{version}-{sysconfig.get_platform()}"


def digest(recipe: Any, requirements: Iterable[str]) -> str:
    """64 hexadecimal digits of a recipe (plain data) and of every local file that its requirements name."""
    total = hashlib.sha256(msgspec.json.encode([LAYOUT, recipe], order="deterministic"))
    for line in requirements:
        total.update(f"\n{line}\n".encode())
        path = line[3:] if line.startswith("-c ") else None
        local = (path, False) if path and "://" not in path else local_path(line)
        if local is not None:
            total.update(path_digest(user_path(local[0]), metadata_only=local[1]).encode())
    return total.hexdigest()


def path_digest(path: Path, metadata_only: bool = False) -> str:
    """Digest of a file, or of a folder without what builds and tools write into it.

    `metadata_only`: only the files that determine dependencies, for editable installs, whose code is not copied.
    """
    if not path.exists():
        raise EnvError(f"{path} does not exist, and the spec of an env names it")
    total = hashlib.sha256()
    files = [path] if path.is_file() else _metadata(path) if metadata_only else _files(path)
    for file in files:
        total.update(f"{os.path.relpath(file, path)}\0".encode("utf-8", "surrogateescape"))
        total.update(_file_digest(file))
    return total.hexdigest()


def _metadata(folder: Path) -> list[Path]:
    return sorted(path for pattern in METADATA for path in folder.glob(pattern) if path.is_file())


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.endswith(".egg-info"))
        yield from (Path(where, name) for name in sorted(files) if not name.endswith((".pyc", ".pyo")))


def _file_digest(file: Path) -> bytes:
    try:
        status = file.stat()
        if status.st_size > WHOLE:
            return f"{status.st_size} {status.st_mtime_ns}".encode()
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return b"unreadable"  # such as a dangling link or a socket, which installs nothing
