"""Paths that do not exist, and which ones may have been meant."""

from __future__ import annotations

import os

from sandbox_actors.errors import nearest

_MAX_NAMES = 1000


def exists(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))


def suggest(path: str, file: str) -> str:
    """The end of a sentence that says that `path`, which `file` names, does not exist."""
    beside = os.path.join(os.path.dirname(file), path)
    if not os.path.isabs(path) and os.path.exists(beside):
        return f"; relative paths are from the current folder, and there is one at {beside}"
    folder, name = os.path.split(os.path.expanduser(path).rstrip(os.sep))
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MAX_NAMES), strict=False)]
    except OSError:
        return f"; there is no folder {folder!r}"
    near = nearest(name, names)
    return f"; did you mean {near!r}?" if near else ""
