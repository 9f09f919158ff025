"""Secrets in experiment files: found by the key they stand under or by how they begin, and refused.

What is submitted is kept in the store, shown to whoever asks, and recorded with the metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Keys = tuple[str | int, ...]

_KEY = re.compile(
    r"(.*_)?(api_?key|secret|secret_?key|access_?key|private_?key|password|passwd|passphrase|credentials?"
    r"|(access|api|auth|bearer|hf|hub|refresh|secret|wandb)_?token)",
    re.IGNORECASE,
)
"""Not `token`, `api_key_env` or `max_tokens`, under which other things stand."""

_VALUE = re.compile(
    r"sk-[\w-]{16,}|hf_\w{20,}|gh[opsu]_\w{30,}|github_pat_\w{30,}|AKIA[0-9A-Z]{16}|xox[abp]-[\w-]{20,}"
)
"""How keys of common services look."""

_STAND_INS = frozenset({"", "empty", "none", "null", "dummy", "fake", "no-key", "not-needed", "unused"})
"""What servers without keys are given in their place."""

MASK = "(secret)"


def is_secret(key: str, value: Any) -> bool:
    """Whether `value` under `key` (the last part of a dotted one counts) looks like a secret."""
    if not isinstance(value, str) or value.strip().lower() in _STAND_INS:
        return False
    name = key.rpartition(".")[2].replace("-", "_")
    return bool(_KEY.fullmatch(name) or _VALUE.fullmatch(value.strip()))


def secrets_in(value: Any, keys: Keys = ()) -> Iterator[Keys]:
    """Where in `value`, mappings and lists at any depth, secrets stand."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from secrets_in(item, (*keys, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from secrets_in(item, (*keys, index))
    elif is_secret(next((key for key in reversed(keys) if isinstance(key, str)), ""), value):
        yield keys


def masked(value: Any, key: str = "") -> Any:
    """`value` with `MASK` in the place of each secret."""
    if isinstance(value, Mapping):
        return {name: masked(item, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, key) for item in value]
    return MASK if is_secret(key, value) else value
