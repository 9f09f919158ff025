"""Dotted names: of what lies in a document, and of a class in a module.

A key of a mapping may itself contain dots (`{"eval.loss": 1}`): the longest one that leads anywhere is taken. A part
that meets a list is an index into it, from its end if negative.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sandbox_actors.errors import ContextError

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_target(name: object) -> bool:
    """Whether this is `module:Class`, or `package.module:function`."""
    return isinstance(name, str) and _TARGET.fullmatch(name) is not None


def find(value: Any, keys: str | Sequence[str]) -> Any:
    """What lies at `keys` in `value`. Raises ContextError, which says what is there instead."""
    keys = keys.split(".") if isinstance(keys, str) else keys
    for found in readings(value, keys):
        return found
    raise ContextError(_missing(value, keys))


def find_or_none(value: Any, keys: str | Sequence[str]) -> Any:
    """What lies at `keys` in `value`, None where nothing does."""
    return next(readings(value, keys), None)


def readings(value: Any, keys: str | Sequence[str]) -> Iterator[Any]:
    """All that `keys` can mean in `value`, by the longest keys first."""
    keys = keys.split(".") if isinstance(keys, str) else keys
    if not keys:
        yield value
    elif isinstance(value, Mapping):
        for length in range(len(keys), 0, -1):
            if (key := ".".join(keys[:length])) in value:
                yield from readings(value[key], keys[length:])
    elif isinstance(value, list) and (index := _index(value, keys[0])) is not None:
        yield from readings(value[index], keys[1:])


def put(config: Any, keys: Sequence[str], value: Any) -> Any:
    """`config` with `value` at `keys`. What lies on the way is copied, never changed; missing mappings are made.

    Raises ContextError where something on the way can hold no keys, or a list is too short.
    """
    if not keys:
        return value
    if config is None:
        config = {}
    if isinstance(config, dict):
        key = _longest(config, keys) or keys[0]
        return {**config, key: put(config.get(key), keys[key.count(".") + 1 :], value)}
    if isinstance(config, list) and (index := _index(config, keys[0])) is not None:
        return [*config[:index], put(config[index], keys[1:], value), *config[index + 1 :]]
    if isinstance(config, list):
        raise ContextError(_missing(config, keys))
    raise ContextError(f"{keys[0]!r} cannot be set in {config!r:.80}, which is neither a mapping nor a list")


def _missing(value: Any, keys: Sequence[str]) -> str:
    """Where the way ends that the longest keys lead."""
    if isinstance(value, Mapping):
        if key := _longest(value, keys):
            return _missing(value[key], keys[key.count(".") + 1 :])
        return f"no {keys[0]!r} there, only {', '.join(map(repr, value)) or 'an empty mapping'}"
    if isinstance(value, list):
        index = _index(value, keys[0])
        return f"no {keys[0]!r} in a list of {len(value)}" if index is None else _missing(value[index], keys[1:])
    return f"no {keys[0]!r} in {value!r:.80}, which is neither a mapping nor a list"


def _longest(mapping: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    candidates = (".".join(keys[:length]) for length in range(len(keys), 0, -1))
    return next((key for key in candidates if key in mapping), None)


def _index(values: list[Any], part: str) -> int | None:
    """The place in the list that `part` means, counted from its beginning; None where there is no such place."""
    try:
        return range(len(values))[int(part)]
    except (ValueError, IndexError):
        return None
