"""Warnings about what other users and hosts can cause: rate limited, so that they cannot flood the daemon's log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE = 60.0
"""Seconds between two lines of one kind."""


class RateLimitedLog:
    """Logs at most one line of each kind in `PAUSE` seconds; the next one says how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warn(self, kind: str, text: str) -> None:
        now = self._clock()
        if now - self._logged.get(kind, -PAUSE) < PAUSE:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._logged[kind] = now
        count = self._left_out.pop(kind, 0)
        log.warning("%s%s", text, f" ({count} similar messages were left out)" if count else "")
