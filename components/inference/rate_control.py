"""How fast an API may be asked: what its headers say, how long to wait after a failure, how many requests at once.

Pure: times come in as seconds of one clock, and nothing waits here.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_BUDGETS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("ratelimit-remaining", "ratelimit-reset"),
)
"""Headers that tell what is left, and when it is renewed."""


def asked_wait(headers: Mapping[str, str], wall_clock: float) -> float | None:
    """Seconds that an answer asks to wait before the next request; None where it does not. `headers` are in lower case.

    Retry-After, in seconds or as a date; its variant in milliseconds; and the time until a budget is renewed of which
    nothing is left.
    """
    waits = [_milliseconds(headers.get("retry-after-ms", "")), _retry_after(headers.get("retry-after", ""), wall_clock)]
    waits += [seconds(headers.get(reset, "")) for left, reset in _BUDGETS if headers.get(left, "").strip() == "0"]
    told = [max(0.0, wait) for wait in waits if wait is not None]
    return max(told) if told else None


def seconds(text: str) -> float | None:
    """A duration as such headers write it: `20ms`, `6m0s`, `1.5`; None for anything else."""
    text = text.strip()
    if text and _DURATION.sub("", text) == "":
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    return _number(text)


def backoff(attempt: int, base: float, most: float, chance: random.Random) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1): doubled each time up to `most`, and of that a
    random part, at least half, so that those who failed together do not come back together."""
    return min(most, base * 2.0 ** (attempt - 1)) * (1 - chance.random() / 2)


class Pace:
    """Lets at most `most` requests be under way: half as many after each time the API said that it was too much, then
    slowly more again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._opens_at = -math.inf

    @property
    def limit(self) -> int:
        return int(self._limit)

    def delay(self, now: float, under_way: int) -> float:
        """Seconds until the next request may start, inf where another has to end first."""
        return math.inf if under_way >= self.limit else max(0.0, self._opens_at - now)

    def throttled(self, now: float, wait: float) -> None:
        """The API refused a request for its rate: nothing starts for `wait` seconds."""
        if now >= self._opens_at:  # those that are refused together count once
            self._limit = max(1.0, self._limit / 2)
        self.hold(now, wait)

    def succeeded(self) -> None:
        self._limit = min(float(self._most), self._limit + 1 / self._limit)

    def hold(self, now: float, wait: float) -> None:
        """Nothing starts for `wait` seconds."""
        self._opens_at = max(self._opens_at, now + wait)


def _retry_after(text: str, wall_clock: float) -> float | None:
    number = _number(text)
    if number is not None or not text:
        return number
    try:
        return parsedate_to_datetime(text).timestamp() - wall_clock
    except (TypeError, ValueError):
        return None


def _milliseconds(text: str) -> float | None:
    number = _number(text)
    return None if number is None else number / 1000


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
