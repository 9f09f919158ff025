"""Progress bars on standard error, in the format of tqdm, which the log watcher reads; none for short work."""

from __future__ import annotations

import sys
import time

PATIENCE = 2.0
"""Seconds before a bar is shown."""

INTERVAL = 0.2
"""Seconds between two updates of a bar."""

_WIDTH = 20


class Bar:
    """The progress of one task: `with Bar("reading a.jsonl", total, "samples") as bar: ... bar.advance(n)`."""

    def __init__(self, label: str, total: int, unit: str = "samples") -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._started = time.monotonic()
        self._next = self._started + PATIENCE
        self._is_shown = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._is_shown:
            self._show("\n")

    def advance(self, count: int) -> None:
        """`count` more units are done."""
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + INTERVAL
            self._show("")

    def _show(self, end: str) -> None:
        self._is_shown = True
        seconds = time.monotonic() - self._started
        share = min(1.0, self._done / self._total) if self._total else 1.0
        rate = self._done / seconds if seconds else 0.0
        left = (self._total - self._done) / rate if rate else 0.0
        bar = "#" * round(share * _WIDTH)
        sys.stderr.write(
            f"\r{self._label}: {share:4.0%}|{bar:<{_WIDTH}}| {self._done}/{self._total}"
            f" [{_clock(seconds)}<{_clock(left)}, {rate:.1f} {self._unit}/s]{end}"
        )
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes:02d}:{rest:02d}"
