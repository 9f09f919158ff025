"""Sends what a log watcher has found to the daemon: in order, one report at a time, in a thread of its own.

So lines are parsed while the store commits, and a log watcher still answers the daemon while its report waits, for
example for a full disk.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from sandbox_actors.protocol.rows import Point, ProgressBar
from sandbox_actors.protocol.worker_requests import Report
from sandbox_actors.worker.link import DaemonLink
from sandbox_actors.worker.run_watcher import size_of

SOURCE = "log"

BATCH_POINTS = 2_000
BATCH_TEXT = 1024 * 1024
"""The most points, and characters of their names and texts, in one report. The points of one line are never split;
`RunWatcher` limits them."""

MOST_WAITING = 20_000
"""Lines with points that may be queued."""

PROGRESS_INTERVAL = 0.1
"""Seconds between two reports of a progress bar."""


class Reporter:
    """Reports on run `run`. After `close`, `is_closed` says when everything has been reported."""

    def __init__(self, link: DaemonLink, run: str) -> None:
        self._link, self._run = link, run
        self._lines: deque[tuple[int, list[Point]]] = deque()
        self._bar: ProgressBar | None = None
        self._bar_due = 0.0
        self._position = 0
        self._is_closing = False
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="reports", daemon=True)
        self.points = 0
        self.failure: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def add(self, position: int, points: list[Point]) -> None:
        """Queue the points of the line that ends at `position`, to be sent with the next `flush`."""
        self._lines.append((position, points))

    def show(self, bar: ProgressBar) -> None:
        self._bar = bar

    def flush(self) -> None:
        """Have the queue sent. Raises the error that the daemon answered to an earlier report."""
        if self.failure is not None:
            raise self.failure
        if self._lines or self._bar is not None:
            self._news.set()

    @property
    def is_full(self) -> bool:
        """Whether the queue has reached its limit: no more lines should be parsed until the daemon has caught up."""
        return len(self._lines) > MOST_WAITING and self.failure is None

    def close(self) -> None:
        """Have the rest sent, then end the thread. Does not wait."""
        self._is_closing = True
        self._news.set()

    @property
    def is_closed(self) -> bool:
        """Whether everything has been sent, after `close`, or sending has failed."""
        return not self._thread.is_alive()

    def _serve(self) -> None:
        try:
            while self._next():
                continue
        except Exception as error:
            self.failure = error

    def _next(self) -> bool:
        """Wait for something to report, and report it. False after the last report."""
        self._news.wait(PROGRESS_INTERVAL if self._bar is not None else None)
        self._news.clear()
        is_last = self._is_closing
        while self._lines:
            points = self._batch()
            self._link.ask(self._report(points))
            self.points += len(points)
        now = time.monotonic()
        if self._bar is not None and (is_last or now >= self._bar_due):
            self._bar_due = now + PROGRESS_INTERVAL
            self._link.ask(self._report([]))
        return not is_last

    def _batch(self) -> list[Point]:
        points: list[Point] = []
        text = 0
        while self._lines and len(points) < BATCH_POINTS and text < BATCH_TEXT:
            self._position, more = self._lines.popleft()
            points += more
            text += sum(map(size_of, more))
        return points

    def _report(self, points: list[Point]) -> Report:
        bar, self._bar = self._bar, None
        return Report(run=self._run, source=SOURCE, position=self._position, points=points, progress=bar)
