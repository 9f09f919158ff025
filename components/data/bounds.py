"""The bounds in a recipe's operators: the statistic of each, the form in which it is written, the samples it excludes.

The statistic that a parameter bounds is taken from the operators' source (`operator_bounds.json`). So each bound of an
operator with several statistics belongs to its own one, and flags such as `min_closed_interval` are not bounds.
"""

from __future__ import annotations

import json
import math
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from components.data.statistic_ranges import ANYTHING, RANGES, UNIT

_DIGITS = 6
_MEANT = 12
"""Digits of a computed bound that are not artefacts of binary arithmetic: 0.7 - 3 * 0.05 should be 0.55."""

_SIZE = re.compile(r"(\d+)\s*([a-zA-Z]*)")
_UNITS = " kmgtpezy"
_RATIO = re.compile(r"\s*(\d+)\s*([/:])\s*(\d+)\s*")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One bound in a recipe. `statistics`: those that it may bound. `value`: as written in the recipe."""

    operator: str
    parameter: str
    is_lower: bool
    kind: str
    statistics: tuple[str, ...]
    arguments: dict[str, Any]

    @property
    def value(self) -> Any:
        return self.arguments[self.parameter]

    @property
    def number(self) -> float | None:
        """None if the value is neither a number nor a text that Data-Juicer reads as one."""
        return number_of(self.value)

    @property
    def obstacle(self) -> str:
        """Why it cannot be moved, whatever the data; empty if it can."""
        if self.number is None:
            return "not a number"
        return "its range is reversed" if self.arguments.get("reversed_range") else ""

    def written(self, value: float, statistic: str) -> Any:
        """`value` in the form of this bound, limited to the range of its statistic and rounded outwards."""
        lowest, highest = UNIT if self.kind == "ClosedUnitInterval" else RANGES.get(statistic, ANYTHING)
        exact = Context(prec=_MEANT).create_decimal_from_float(min(max(value, lowest), highest))
        if isinstance(self.value, str):
            return _like(self.value, Fraction(exact), self.is_lower)
        if self.kind == "int":
            return math.floor(exact) if self.is_lower else math.ceil(exact)
        return float(Context(prec=_DIGITS, rounding=ROUND_FLOOR if self.is_lower else ROUND_CEILING).plus(exact))

    def excludes(self, bound: float, value: Any) -> bool:
        """Whether this bound alone, set to `bound`, would remove a sample whose statistic is `value`.

        Of several values, for instance one for each image, any or all must be inside, as the operator is configured. A
        missing value is not excluded.
        """
        if isinstance(value, (list, tuple)):
            inside = [not self.excludes(bound, each) for each in value]
            is_kept = all(inside) if self.arguments.get("any_or_all") == "all" else any(inside)
            return bool(inside) and not is_kept
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        is_closed = self.arguments.get("min_closed_interval" if self.is_lower else "max_closed_interval", True)
        if value == bound:
            return not is_closed
        return not (value > bound if self.is_lower else value < bound)


@dataclass(frozen=True, kw_only=True)
class BoundChange:
    """The change of one bound. If it is unchanged, `after` equals `before`, and `reason` says why.

    gone_before, gone_after  the number of samples that this bound alone excludes; None if they were not counted
    """

    operator: str
    parameter: str
    before: Any
    after: Any
    statistic: str = ""
    reason: str = ""
    gone_before: int | None = None
    gone_after: int | None = None

    def __str__(self) -> str:
        what = f"{self.operator}.{self.parameter}: {self.before} -> {self.after}"
        return f"{what} ({self.reason or self.statistic})"


Columns = Mapping[str, Sequence[Any]]
"""The value of each statistic in each sample."""

NO_COLUMNS: Columns = MappingProxyType({})


def operator_bounds() -> dict[str, dict[str, Any]]:
    """{operator: {parameter: {"side", "type", "stats"}}}, as written by `operators.py`."""
    content: dict[str, dict[str, Any]] = json.loads(pkgutil.get_data(__package__, "operator_bounds.json") or b"{}")
    return content


def bounds_of(recipe: Mapping[str, Any]) -> Iterator[Bound]:
    """The bounds in a recipe, in its order."""
    known = operator_bounds()
    for entry in recipe.get("process") or []:
        for operator, arguments in entry.items() if isinstance(entry, dict) else ():
            for parameter, bound in known.get(operator, {}).items():
                if arguments and arguments.get(parameter) is not None:
                    yield Bound(
                        operator=operator,
                        parameter=parameter,
                        is_lower=bound["side"] == "min",
                        kind=bound["type"],
                        statistics=tuple(filter(None, (_named(name, arguments) for name in bound["stats"]))),
                        arguments=arguments,
                    )


def changed(
    bound: Bound, after: Any = None, statistic: str = "", reason: str = "", columns: Columns = NO_COLUMNS
) -> BoundChange:
    """Set a bound to `after` in its recipe, or leave it for a `reason`; count the samples excluded before and after."""
    before = bound.value
    after = before if reason else after
    values = columns.get(statistic)
    gone = [
        None if values is None or number is None else sum(bound.excludes(number, value) for value in values)
        for number in (bound.number, number_of(after))
    ]
    bound.arguments[bound.parameter] = after
    return BoundChange(
        operator=bound.operator,
        parameter=bound.parameter,
        before=before,
        after=after,
        statistic=statistic,
        reason=reason,
        gone_before=gone[0],
        gone_after=gone[1],
    )


def number_of(value: Any) -> float | None:
    """A bound as a number: 2048 for `2kb`, 1.5 for `3/2`."""
    if isinstance(value, str):
        if ratio := _RATIO.fullmatch(value):
            return int(ratio[1]) / int(ratio[3]) if int(ratio[3]) else None
        size = _SIZE.fullmatch(value.strip())
        power = _power(size[2]) if size else None
        return None if size is None or power is None else float(int(size[1]) << 10 * power)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _named(statistic: str, arguments: Mapping[str, Any]) -> str:
    """`<field_key>` means the statistic that the parameter of this name contains."""
    return str(arguments.get(statistic[1:-1]) or "") if statistic.startswith("<") else statistic


def _power(unit: str) -> int | None:
    """The power of 1024: 0 without a unit, 1 for kb and KiB."""
    match = re.fullmatch(r"([kmgtpezy])i?b", unit.lower())
    return _UNITS.index(match[1]) if match else None if unit else 0


def _like(text: str, value: Fraction, is_lower: bool) -> str:
    """A size or a ratio in the form of `text`. Data-Juicer reads sizes as whole numbers, so a smaller unit is used if
    the number would have fewer than three digits."""
    to_whole = math.floor if is_lower else math.ceil
    if ratio := _RATIO.fullmatch(text):
        return f"{to_whole(value * 100)}{ratio[2]}100"
    size = _SIZE.fullmatch(text.strip())
    unit = size[2] if size else ""
    power = _power(unit) or 0
    while power and value < 100 << 10 * power:
        power -= 1
    letter = _UNITS[power].strip()
    if unit and letter:
        letter = (letter.upper() if unit[0].isupper() else letter) + unit[1:]
    return f"{to_whole(value / (1 << 10 * power))}{letter}"
