"""Paths that are not there: what the one who wrote them may have meant."""

from __future__ import annotations

import os

from sandbox_actors.errors import did_you_mean

_MOST_NAMES = 1000


def is_there(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))


def hint(path: str, file: str) -> str:
    """The end of a sentence that says that `path`, named in `file`, is not there."""
    beside = os.path.join(os.path.dirname(file), path)
    if not os.path.isabs(path) and os.path.exists(beside):
        return f"; paths are looked up from the current folder, there is one at {beside}"
    folder, name = os.path.split(os.path.expanduser(path).rstrip(os.sep))
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_NAMES), strict=False)]
    except OSError:
        return f"; there is no folder {folder!r}"
    near = did_you_mean(name, names)
    return near if near.startswith("; did") else ""
