"""Secrets in experiment files: recognised by their key or by how they begin, and refused.

A submitted experiment is kept in the store, shown to every client, and recorded with the metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_KEY = re.compile(
    r"(.*_)?(api_?key|secret|secret_?key|access_?key|private_?key|password|passwd|passphrase|credentials?"
    r"|(access|api|auth|bearer|hf|hub|refresh|secret|wandb)_?token)",
    re.IGNORECASE,
)
"""Does not match `token`, `api_key_env` or `max_tokens`, whose values are not secrets."""

_VALUE = re.compile(
    r"sk-[\w-]{16,}|hf_\w{20,}|gh[opsu]_\w{30,}|github_pat_\w{30,}|AKIA[0-9A-Z]{16}|xox[abp]-[\w-]{20,}"
)
"""The form of keys of common services."""

_DUMMIES = frozenset({"", "empty", "none", "null", "dummy", "fake", "no-key", "not-needed", "unused"})
"""What people write as the key of a server that needs none."""

MASK = "(secret)"

ADVICE = (
    "everyone who reads the file sees a secret in it: put it into an environment variable where the daemon is started "
    "(see `api_key_env`)"
)
"""What is wrong with a secret in a file, and what to do."""


def is_secret(key: str, value: Any) -> bool:
    """Whether `value` under `key` (of a dotted key, its last part) looks like a secret."""
    if not isinstance(value, str) or value.strip().lower() in _DUMMIES:
        return False
    name = key.rpartition(".")[2].replace("-", "_")
    return bool(_KEY.fullmatch(name) or _VALUE.fullmatch(value.strip()))


def find_secrets(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The keys and indices of each secret in `value`, in mappings and lists at any depth."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from find_secrets(item, (*keys, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from find_secrets(item, (*keys, index))
    elif is_secret(next((key for key in reversed(keys) if isinstance(key, str)), ""), value):
        yield keys


def mask_secrets(value: Any, key: str = "") -> Any:
    """`value` with `MASK` in place of each secret."""
    if isinstance(value, Mapping):
        return {name: mask_secrets(item, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_secrets(item, key) for item in value]
    return MASK if is_secret(key, value) else value
