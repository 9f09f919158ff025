"""Durations and amounts of memory as people write them: `30m`, `1h30m`, `4GB`."""

from __future__ import annotations

import math
import re

FOREVER = -1.0
"""Seconds of a `keep_alive` without end: JSON has no infinity."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: dict[str, int] = {"": 1, "b": 1} | {
    unit + end: factor**power
    for power, unit in enumerate("kmgt", start=1)
    for end, factor in (("", 1024), ("b", 1000), ("ib", 1024))
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)")

_LONGEST = 100
"""Characters of a quantity. The time to read one grows with the square of its parts."""


def parse_duration(value: float | str) -> float:
    """Seconds, from a number of seconds or text such as `90s`, `30m`, `1h30m`. Raises ValueError."""
    if not isinstance(value, str):
        return _at_least_zero(float(value))
    seconds, rest = 0.0, value.strip()
    while rest or not value.strip():  # the empty text has no part, and fails below as any other would
        part = _PART.match(rest) if len(rest) <= _LONGEST else None
        unit = part[2].lower() or "s" if part else ""
        if part is None or unit not in _SECONDS:
            raise ValueError(f"{value!r} is not a duration; write a number of seconds, or 90s, 30m, 2h, 1h30m")
        seconds += float(part[1]) * _SECONDS[unit]
        rest = rest[part.end() :].lstrip()
    return _at_least_zero(seconds)


def parse_keep_alive(value: float | str) -> float:
    """As `parse_duration`; FOREVER for `forever` and negative numbers."""
    if value == "forever" or (not isinstance(value, str) and value < 0):
        return FOREVER
    return parse_duration(value)


def parse_bytes(value: float | str) -> int:
    """Bytes, from a number of bytes or text: `4GB` is 4 * 1000**3, `4GiB` and `4G` 4 * 1024**3. Raises ValueError."""
    if not isinstance(value, str):
        return round(_at_least_zero(float(value)))
    part = _PART.fullmatch(value.strip())
    if part is None or part[2].lower() not in _BYTES:
        raise ValueError(f"{value!r} is not an amount of memory; write a number of bytes, or 512MB, 4GB, 4GiB")
    return round(_at_least_zero(float(part[1]) * _BYTES[part[2].lower()]))


def _at_least_zero(number: float) -> float:
    if not (number >= 0 and math.isfinite(number)):
        raise ValueError(f"must be a finite number, 0 or more, not {number:g}")
    return number
