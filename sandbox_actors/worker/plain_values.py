"""Converts what a component returns to values that JSON can hold: numbers, text, lists and mappings.

Nothing is imported to recognise them: numpy and torch scalars and arrays, pandas frames and series are known by their
methods; paths, dates, sets, enums and dataclasses are converted too. What cannot be converted exactly is refused, with
the name of the output: a wrong value is worse than a failure.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import os
from typing import Any

from sandbox_actors.errors import ContextError, SandboxError
from sandbox_actors.protocol.frames import encode
from sandbox_actors.protocol.texts import text_of
from sandbox_actors.protocol.worker_requests import Outcome

MAX_DEPTH = 64

RESULT_LIMIT = 4 * 1024 * 1024
"""Bytes of the outputs of one run, encoded. They are stored, shown, and handed to later jobs."""

ARRAY_LIMIT = 16 * RESULT_LIMIT
"""Bytes of an array in memory. A larger one is refused before a list is made of it, which takes many times as much."""

QUOTED = 80
"""Characters of a text that an error quotes."""

WAY_OUT = "write it to a file, and return its path"


def outcome_of(result: Any, load_seconds: float | None = None, has_model: bool = False) -> Outcome:
    """The result of a `run`, a tuple being several outputs. Raises ContextError naming an output that cannot be
    recorded, or is too large."""
    is_tuple = isinstance(result, tuple) and not hasattr(result, "_fields")
    results = list(result) if is_tuple else [result]
    names = [f"output {index}" if is_tuple else "the output" for index in range(len(results))]
    values = [plain(value, name) for value, name in zip(results, names, strict=True)]
    sizes = [len(encode(value)) for value in values]
    if sum(sizes) > RESULT_LIMIT:
        largest = max(range(len(sizes)), key=sizes.__getitem__)
        together = f" of {sum(sizes):,} for all outputs" if is_tuple else ""
        raise ContextError(
            f"{names[largest]} takes {sizes[largest]:,} bytes{together}, and the limit is {RESULT_LIMIT:,}: {WAY_OUT}"
        )
    return Outcome(values=values, is_tuple=is_tuple, load_seconds=load_seconds, has_model=has_model)


def plain(value: Any, where: str, *, is_shown: bool = False) -> Any:
    """`value` as JSON can hold it; `where` names it in errors. Raises ContextError, whatever the value's own methods
    raise.

    `is_shown`: it is a metric, for people; then text that is not valid Unicode is left to `points_of` to convert.
    """
    try:
        return _Conversion(where, is_shown).of(value, where, 0)
    except SandboxError:
        raise
    except Exception as error:
        raise ContextError(f"{where} cannot be recorded: {type(error).__name__}: {text_of(error)}") from error


class _Conversion:
    """Of one output, called `name`. It counts its values, because a list may contain another one many times."""

    def __init__(self, name: str, is_shown: bool) -> None:
        self._name, self._is_shown, self._count = name, is_shown, 0

    def of(self, value: Any, where: str, depth: int) -> Any:
        self._count += 1
        if self._count > RESULT_LIMIT:  # each value takes a byte or more
            raise ContextError(f"{self._name} has more than {RESULT_LIMIT:,} values: {WAY_OUT}")
        if depth > MAX_DEPTH:
            raise ContextError(f"{where} is nested more than {MAX_DEPTH} levels deep, or contains itself")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value, where)
        if isinstance(value, int):
            return int(value) if -(2**63) <= value < 2**64 else str(int(value))
        if isinstance(value, float):
            return float(value)
        if isinstance(value, dict):
            return self._mapping(value, where, depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.of(item, f"{where}.{index}", depth + 1) for index, item in enumerate(value)]
        return self._converted(value, where, depth)

    def _converted(self, value: Any, where: str, depth: int) -> Any:
        if isinstance(value, os.PathLike):
            return self._text(os.fsdecode(value), where)
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, enum.Enum):
            return self.of(value.value, where, depth + 1)
        if isinstance(value, decimal.Decimal):
            return float(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return self._mapping(fields, where, depth)
        return self._foreign(value, where, depth)

    def _text(self, value: str, where: str) -> str:
        """As a `str` itself: numpy has a class of its own."""
        text = str.__str__(value)
        if not self._is_shown:
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ContextError(
                    f"{where} is {text[:QUOTED]!a}, which cannot be encoded as UTF-8, as the name of a file may be"
                ) from None
        return text

    def _mapping(self, value: dict[Any, Any], where: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in value.items():
            name = self._key(key, where)
            if name in found:
                raise ContextError(f"{where} has several keys that are {name[:QUOTED]!r} as text")
            found[name] = self.of(item, f"{where}.{name}", depth + 1)
        return found

    def _key(self, key: Any, where: str) -> str:
        if isinstance(key, str):
            return self._text(key, f"a key of {where}")
        if isinstance(key, (int, float)) or key is None:
            return str(key)
        raise ContextError(f"{where} has a key of type {type(key).__qualname__}; keys must be text")

    def _foreign(self, value: Any, where: str, depth: int) -> Any:
        """Values of numpy, torch and pandas, recognised by the methods they share."""
        size = getattr(value, "nbytes", 0)
        if isinstance(size, int) and size > ARRAY_LIMIT:
            raise ContextError(f"{where} takes {size:,} bytes, and the limit is {RESULT_LIMIT:,}: {WAY_OUT}")
        for method in ("tolist", "to_dict"):  # arrays, scalars and tensors; frames and namespaces
            convert = getattr(value, method, None)
            if callable(convert) and not isinstance(value, type):
                return self.of(convert(), where, depth + 1)
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise ContextError(f"{where} is a {kind}, which cannot be recorded: return numbers, text, lists or mappings")
