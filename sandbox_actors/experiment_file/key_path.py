"""Paths of keys and indices in a document: what is at them, and documents with something else there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Unlike a dotted name it is unambiguous: a key that contains a dot is one part."""


def join_path(path: KeyPath) -> str:
    """The path as messages show it."""
    return ".".join(map(str, path))


def get_at(value: Any, path: KeyPath) -> Any:
    """What is at `path` in `value`; None if a key on the way is missing."""
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            return None
    return value


def replace_at(value: Any, path: KeyPath, new: Any) -> Any:
    """`value` with `new` at `path`. What is on the way is copied, never changed."""
    if not path:
        return new
    if isinstance(value, list):
        return [replace_at(each, path[1:], new) if index == path[0] else each for index, each in enumerate(value)]
    return {**value, path[0]: replace_at(value.get(path[0]), path[1:], new)}


def remove_all(value: Any, paths: Iterable[KeyPath]) -> Any:
    """`value` without what is at `paths`; an element of a list becomes None, so that the others keep their indices."""
    for path in sorted(paths, key=len, reverse=True):
        value = _remove(value, path)
    return value


def _remove(value: Any, path: KeyPath) -> Any:
    if not path:
        return None
    first, rest = path[0], path[1:]
    if isinstance(value, dict) and first in value:
        if rest:
            return {**value, first: _remove(value[first], rest)}
        return {key: each for key, each in value.items() if key != first}
    if isinstance(value, list) and isinstance(first, int) and first < len(value):
        return [_remove(each, rest) if index == first else each for index, each in enumerate(value)]
    return value
