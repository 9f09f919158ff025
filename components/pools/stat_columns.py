"""Reads the stats that Data-Juicer's analysis adds to samples as columns of numbers."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from components.pools.parsing import Lines, parsed
from sandbox_actors.errors import ComponentFailed

STATS = "__dj__stats__"

_NUMBERS = frozenset((int, float, bool))

Kind = Literal["number", "list", "text", "other", "empty", "nothing"]
"""Kinds of values. `list`: of numbers. `empty`: a list of unknown kind. `text`: a text or a list of texts."""


class _Analysed(msgspec.Struct):
    stats: dict[str, Any] | None = msgspec.field(name=STATS, default=None)


class Column:
    """The values of one stat. A list counts as the mean of its numbers, an empty one as 0; true counts as 1."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind: Kind | None = None
        self._values: array[int] | array[float] = array("q")

    @property
    def is_numeric(self) -> bool:
        return self.kind not in ("text", "other")

    def extend(self, values: list[Any]) -> int | None:
        """Add the next values. Returns the index of the first with another kind than the earlier ones, or None."""
        if self.kind == "number" and _NUMBERS.issuperset(map(type, values)) and self._append(values):
            return None
        return next((position for position, value in enumerate(values) if not self._take(value)), None)

    def numbers(self) -> Any:
        """A numpy array of 64-bit integers if all values are integers that fit, else of floats."""
        import numpy as np

        return np.frombuffer(self._values, np.int64 if self._values.typecode == "q" else np.float64)

    def _take(self, value: Any) -> bool:
        kind = _kind_of(value)
        if self.kind is None and kind not in ("empty", "nothing") and not (self._values and kind == "number"):
            self.kind = kind
        if not self.is_numeric:
            return kind in (self.kind, "empty", "nothing")
        if kind == "empty":
            return self.kind in (None, "list") and self._append([0])
        if kind != self.kind or kind == "nothing":
            return False
        if kind == "list":
            items = list(_flat(value))
            value = math.fsum(items) / len(items)
        return self._append([value])

    def _append(self, values: list[Any]) -> bool:
        size = len(self._values)
        try:
            self._values.extend(values)
            return True
        except (TypeError, OverflowError):  # the values before the failing one are already added
            del self._values[size:]
        if self._values.typecode == "d":
            return False
        self._values = array("d", self._values)
        return self._append(values)


def stats_of_lines(lines: Lines) -> dict[str, Any]:
    """The numeric stats of all samples as numpy arrays, by name, in the order in which the first sample has them.

    Stats that are texts are skipped, which is logged. Raises ComponentFailed with file and line for a sample without
    stats, with other stats than the first, or with a value of another kind than the earlier ones.
    """
    columns: dict[str, Column] = {}
    for first, samples in parsed(lines, _Analysed):
        rows = [sample.stats for sample in samples]
        columns = columns or {name: Column(name) for name in rows[0] or ()}
        if any(row is None or row.keys() != columns.keys() for row in rows):
            raise _other_stats(lines, first, rows, columns)
        for name, column in columns.items():
            position = column.extend([row[name] for row in rows])
            if position is not None:
                raise _misfit(lines, first + position, column, rows[position][name])
    return numeric(lines.path, columns.values())


def numeric(path: str, columns: Iterable[Column]) -> dict[str, Any]:
    """The columns that can be sorted by. Raises ComponentFailed if there are none."""
    kept = {column.name: column.numbers() for column in columns if column.is_numeric}
    if skipped := [column.name for column in columns if not column.is_numeric]:
        print(f"{path}: stats that are not numbers are skipped: {', '.join(skipped)}")
    if not kept:
        raise ComponentFailed(f"{path}: no sample has a numeric stat; analyse it first, or set ignore_stats")
    return kept


def _other_stats(lines: Lines, first: int, rows: list[Any], columns: dict[str, Column]) -> ComponentFailed:
    for row, stats in enumerate(rows, start=first):
        if stats is None:
            return ComponentFailed(f"{lines.place(row)}: no stats ({STATS}); analyse the dataset, or set ignore_stats")
        if absent := [name for name in columns if name not in stats]:
            return ComponentFailed(f"{lines.place(row)}: no stat {absent[0]!r}, which {lines.place(0)} has")
        if added := [name for name in stats if name not in columns]:
            return ComponentFailed(f"{lines.place(row)}: a stat {added[0]!r}, which {lines.place(0)} does not have")
    raise ValueError("all samples have the same stats")


def _misfit(lines: Lines, row: int, column: Column, value: Any) -> ComponentFailed:
    kind = {None: "a value", "number": "a number", "list": "a list of numbers"}.get(column.kind, "a text")
    got = "null" if value is None else repr(value)
    return ComponentFailed(f"{lines.place(row)}: stat {column.name!r}: must be {kind}, not {got}")


def _kind_of(value: Any) -> Kind:
    if type(value) in _NUMBERS:
        return "number"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "text"
    if not isinstance(value, list):
        return "other"
    kinds = set(map(type, _flat(value)))
    if not kinds:
        return "empty"
    if kinds <= _NUMBERS:
        return "list"
    return "text" if kinds == {str} else "other"


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value
