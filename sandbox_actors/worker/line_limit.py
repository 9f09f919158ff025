"""How long one line may keep a log watcher busy. Users' regular expressions run there, and some never end.

A timer's signal interrupts the main thread. If the line that it works on has taken too long, the signal's handler
raises in the middle of it: CPython handles signals inside the matching of a regular expression too.
"""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType

CPU_SECONDS = 1.0
"""Processor time of the main thread that one line may take. On a busy machine that is longer by the clock."""

SECONDS = 2.5
"""By the clock, that one line may take."""

TICK = 0.1


class LineTookTooLong(BaseException):
    """Raised in the middle of a component's code. A BaseException, so that `except Exception` there does not catch
    it."""


class LineLimit:
    """As a context, limits each line between `begin` and `end`. For the main thread only.

    `is_due` is set at every tick: the caller resets it and does its periodic work between lines.
    """

    def __init__(self) -> None:
        self.is_due = False
        self._line = self._seen = 0
        self._is_inside = False
        self._since = self._cpu_since = 0.0

    def begin(self) -> None:
        self._line += 1
        self._is_inside = True

    def end(self) -> None:
        self._is_inside = False

    def __enter__(self) -> LineLimit:
        signal.signal(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _tick(self, number: int, frame: FrameType | None) -> None:
        self.is_due = True
        if not self._is_inside:
            return
        now, cpu = time.monotonic(), time.thread_time()
        if self._line != self._seen:
            self._seen, self._since, self._cpu_since = self._line, now, cpu
        elif cpu - self._cpu_since > CPU_SECONDS or now - self._since > SECONDS:
            raise LineTookTooLong
