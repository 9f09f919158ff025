"""Lines for the daemon's log about what strangers can cause, and therefore must not be able to flood it with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

PAUSE = 60.0
"""Seconds between two lines of one kind."""


class Notices:
    """At most one line a minute of each kind; the next one says how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def tell(self, kind: str, text: str) -> None:
        now = self._clock()
        if now - self._told.get(kind, -PAUSE) < PAUSE:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._told[kind] = now
        more = self._left_out.pop(kind, 0)
        print(f"sandbox-daemon: {text}{f' ({more} more of these before)' if more else ''}", file=sys.stderr, flush=True)
