"""The rate of requests to an API: what its headers ask for, the backoff after a failure, how many requests at once.

Pure: times are passed in as seconds of one clock, and nothing waits here.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_DURATIONS = re.compile(rf"(?:{_DURATION.pattern})+")
_BUDGETS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("ratelimit-remaining", "ratelimit-reset"),
)
"""Headers with the remaining budget, and with the time until it is reset."""


def asked_wait(headers: Mapping[str, str], wall_clock: float) -> float | None:
    """Seconds that an answer asks to wait before the next request, None if it does not. `headers` are in lower case.

    Read from Retry-After, in seconds or as a date; from its variant in milliseconds; and from the time until a budget
    that is used up is reset.
    """
    waits = [_milliseconds(headers.get("retry-after-ms", "")), _retry_after(headers.get("retry-after", ""), wall_clock)]
    waits += [seconds(headers.get(reset, "")) for left, reset in _BUDGETS if headers.get(left, "").strip() == "0"]
    found = [max(0.0, wait) for wait in waits if wait is not None]
    return max(found) if found else None


def seconds(text: str) -> float | None:
    """A duration as these headers write it: `20ms`, `6m0s`, `1.5`; None for anything else."""
    text = text.strip()
    if _DURATIONS.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    return _number(text)


def backoff(attempt: int, base: float, most: float, chance: random.Random) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1): doubled each time up to `most`, then reduced by a
    random part of up to a half, so that requests that failed together are not repeated together."""
    return min(most, base * 2.0 ** (attempt - 1)) * (1 - chance.random() / 2)


class Pace:
    """Limits the requests in flight to `most`: the limit is halved each time the API reports that it is overloaded, and
    then rises slowly again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._opens_at = -math.inf

    @property
    def limit(self) -> int:
        return int(self._limit)

    def delay(self, now: float, in_flight: int) -> float:
        """Seconds until the next request may start; infinite if another one must end first."""
        return math.inf if in_flight >= self.limit else max(0.0, self._opens_at - now)

    def throttled(self, now: float, wait: float) -> None:
        """The API refused a request for its rate: nothing starts for `wait` seconds."""
        if now >= self._opens_at:  # requests that are refused together count once
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
