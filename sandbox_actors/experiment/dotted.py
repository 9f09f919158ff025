"""Values put into a config, and found in one, by dotted keys.

A key of a mapping may itself contain dots (`{"eval.loss": 1}`): the longest one that is there is taken. A part of a
dotted key that meets a list is an index into it, from its end if negative.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from sandbox_actors.errors import ContextError

CONFIGS = ("dj_configs", "extra_configs")


def find(value: Any, keys: Sequence[str]) -> Any:
    """What lies at `keys` in `value`. Raises ContextError, which says what is there instead."""
    rest = list(keys)
    while rest:
        if isinstance(value, dict):
            key = _present(value, rest)
            if key is None:
                raise ContextError(f"no {rest[0]!r} there, only {', '.join(map(repr, value)) or 'an empty mapping'}")
            value, rest = value[key], rest[key.count(".") + 1 :]
        elif isinstance(value, list):
            value, rest = value[_index(value, rest[0])], rest[1:]
        else:
            raise ContextError(f"no {rest[0]!r} in {value!r:.80}, which is neither a mapping nor a list")
    return value


def put(config: Any, keys: Sequence[str], value: Any) -> Any:
    """`config` with `value` at `keys`. What lies on the way is copied, never changed; missing mappings are made.

    Raises ContextError where something on the way can hold no keys, or a list is too short.
    """
    if not keys:
        return value
    if config is None:
        config = {}
    if isinstance(config, dict):
        key = _present(config, keys) or keys[0]
        return {**config, key: put(config.get(key), keys[key.count(".") + 1 :], value)}
    if isinstance(config, list):
        index = _index(config, keys[0])
        changed = list(config)
        changed[index] = put(config[index], keys[1:], value)
        return changed
    raise ContextError(f"{keys[0]!r} cannot be set in {config!r:.80}, which is neither a mapping nor a list")


def put_all(config: Any, settings: Iterable[tuple[Sequence[str], Any]]) -> Any:
    for keys, value in settings:
        config = put(config, keys, value)
    return config


def is_placeholder(value: object) -> bool:
    """Whether a value only marks the place of one that is put there before use: `<replaced_by_the_input>`."""
    return isinstance(value, str) and value.strip().startswith("<") and value.strip().endswith(">")


def with_iteration(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    """`config` with the folder `iter_<n>` in its `export_path`: before the last part of a file, after a folder."""
    paths = config.get("export_path")
    if not paths:
        return config
    if isinstance(paths, list):
        return {**config, "export_path": [_into_iteration(path, iteration) for path in paths]}
    return {**config, "export_path": _into_iteration(paths, iteration)}


def names_file(path: str) -> bool:
    """Whether a path that need not exist is meant as a file: its last part has a dot that is not its first letter."""
    last = os.path.basename(path.rstrip("/"))
    return "." in last and not last.startswith(".")


def _into_iteration(path: Any, iteration: int) -> Any:
    if not isinstance(path, str):
        return path
    folder = f"iter_{iteration}"
    if names_file(path):
        return os.path.join(os.path.dirname(path), folder, os.path.basename(path))
    return os.path.join(path, folder)


def _present(mapping: dict[str, Any], keys: Sequence[str]) -> str | None:
    for length in range(len(keys), 0, -1):
        key = ".".join(keys[:length])
        if key in mapping:
            return key
    return None


def _index(values: list[Any], part: str) -> int:
    try:
        index = int(part)
        values[index]
    except (ValueError, IndexError):
        raise ContextError(f"no {part!r} in a list of {len(values)}") from None
    return index
