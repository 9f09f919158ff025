"""Converts what a component returns to values that JSON can hold: numbers, text, lists and mappings.

Nothing is imported to recognise them: numpy and torch scalars and arrays, pandas frames and series are known by their
methods; paths, dates, sets, Structs and dataclasses are converted too.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import os
from typing import Any

from sandbox_actors.errors import ContextError
from sandbox_actors.protocol.worker_requests import Outcome

MAX_DEPTH = 64


def outcome_of(result: Any, load_seconds: float | None = None, has_model: bool = False) -> Outcome:
    """The result of a `run`, a tuple being several outputs. Raises ContextError naming what JSON cannot hold."""
    is_tuple = isinstance(result, tuple) and not hasattr(result, "_fields")
    results = list(result) if is_tuple else [result]
    values = [plain(value, f"output {index}" if is_tuple else "the output") for index, value in enumerate(results)]
    return Outcome(values=values, is_tuple=is_tuple, load_seconds=load_seconds, has_model=has_model)


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """`value` as JSON can hold it; `where` names it in errors. Raises ContextError."""
    if depth > MAX_DEPTH:
        raise ContextError(f"{where} is nested more than {MAX_DEPTH} levels deep, or contains itself")
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else str(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, dict):
        return {_key(key, where): plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, f"{where}.{index}", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return plain(value.value, where, depth + 1)
    if isinstance(value, decimal.Decimal):
        return float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain(fields, where, depth + 1)
    return _foreign(value, where, depth)


def _foreign(value: Any, where: str, depth: int) -> Any:
    """Values of numpy, torch and pandas, recognised by the methods they share."""
    for method in ("tolist", "to_dict"):  # arrays, scalars and tensors; frames and namespaces
        convert = getattr(value, method, None)
        if callable(convert) and not isinstance(value, type):
            return plain(convert(), where, depth + 1)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise ContextError(f"{where} is a {kind}, which cannot be recorded: return numbers, text, lists or mappings")


def _key(key: Any, where: str) -> str:
    if isinstance(key, (str, int, float, bool)) or key is None:
        return str(key)
    raise ContextError(f"{where} has a key of type {type(key).__qualname__}; keys must be text")
