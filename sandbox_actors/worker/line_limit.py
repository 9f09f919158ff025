"""How long one line may keep a log watcher busy. Users' regular expressions run there, and some never end.

A timer's signal looks at what the main thread does. While a line is at work that has cost too much, the signal's
handler raises in the middle of it: CPython looks for signals inside a regular expression too.
"""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType

CPU_SECONDS = 1.0
"""Of the main thread, that one line may cost. On a busy machine that may take longer."""

SECONDS = 2.5
"""That one line may take, waiting included."""

TICK = 0.1


class LineTookTooLong(BaseException):
    """Raised in a component's code, which catches exceptions as it likes; so it is none that is usually caught."""


class LineLimit:
    """As a context, watches over the lines between `begin` and `end`. For the main thread only.

    `is_due` is set at every tick, for whoever has to do something now and then between lines.
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
