"""A component's config as a Struct: no key that it does not know, each value of its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from sandbox_actors.errors import ConfigError, Problem, did_you_mean

JOB_KEYS = ("type", "env_name", "env_manager", "env_params")
"""The keys that any config may have: the component's type, and the env it runs in."""

S = TypeVar("S", bound=msgspec.Struct)


def keys_of(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """The keys that a config of this kind may have."""
    return (*kind.__struct_fields__, *JOB_KEYS)


def read_settings(config: Mapping[str, Any], kind: type[S], who: str) -> S:
    """`config` as a `kind`. A key whose value is null counts as missing, and the text `"1e-3"` as a number unless
    `kind.is_strict`.

    Raises ConfigError in the name of `who`: for every unknown key, with the nearest known one; else for the first
    value that does not fit.
    """
    check_known(config, keys_of(kind), who)
    values = {key: value for key, value in _plain(config).items() if key not in JOB_KEYS and value is not None}
    try:
        return msgspec.convert(values, kind, strict=_is_strict(kind))
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        key = place.strip("`.") or next(iter(_missing(values, kind)), "")
        raise ConfigError([Problem(who, key, _lowered(message))]) from error


def required_of(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """The keys that a config of this kind must have."""
    return tuple(field.name for field in msgspec.structs.fields(kind) if field.required)


def misfits(config: Mapping[str, Any], kind: type[msgspec.Struct]) -> list[tuple[str, str]]:
    """Keys of `config` whose values do not fit a `kind`, and why. Missing and unknown keys are not reported."""
    found = []
    for field in msgspec.structs.fields(kind):
        value = _plain(config.get(field.name))
        if value is not None:
            try:
                msgspec.convert(value, field.type, strict=_is_strict(kind))
            except msgspec.ValidationError as error:
                found.append((field.name, _lowered(str(error).partition(" - at `$")[0])))
    return found


def check_known(values: Mapping[str, Any], known: tuple[str, ...], who: str, below: str = "") -> None:
    """Raises ConfigError for the keys of `values` that are not in `known`; `below` is the prefix of their names."""
    if unknown := [key for key in values if key not in known]:
        raise ConfigError([Problem(who, f"{below}{key}", f"unknown key{did_you_mean(key, known)}") for key in unknown])


def _is_strict(kind: type[msgspec.Struct]) -> bool:
    return bool(getattr(kind, "is_strict", False))


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _missing(values: Mapping[str, Any], kind: type[msgspec.Struct]) -> list[str]:
    return [name for name in required_of(kind) if name not in values]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
