"""The log watcher: follows the log of one run, and turns its lines into points and progress.

Theory of operation. It is a process of its own, because the one that trains holds the GIL for as long as it likes, and
may die: the last lines before a crash are those that matter. In it are three threads. The main thread reads the log,
calls the component's `_watch_run` for each line, and between lines answers the daemon (`Ping`, `EndLog`); the
reporter's thread sends what was found and waits for the store; the link's thread receives. A timer's signal interrupts
the main thread in the middle of a line that takes too long (`line_limit.py`).

- The run writes to the log while it is read. Only complete lines are used; what is left without an end counts when the
  run has ended.
- The time that a line may take limits the search for a progress bar in it too, which is this project's own.
- The reporter holds a bounded number of lines: when it is full, parsing waits, but the daemon is still answered.
- Points are reported together with the position in the log at which their line ends. The store keeps position and
  points in one transaction, so a watcher that replaces a dead one reads from the beginning of the run, for parsers that
  have a memory, and reports only lines behind that position.

Guaranteed: each complete line counts once, whichever process is killed (unless the log was truncated); a component's
mistake, or a regular expression that never ends, costs metrics but never the run.

What failed: handing on lines before their end is written, which reads `loss=0.12` for `loss=0.1234`. Ending lines at
`\\n` only: progress bars end with `\\r`. One line of 512 MiB costs 1 GiB with readline, 11 MiB in chunks. A thread in
the process that trains: it waits for the GIL. A limit checked between lines: some regular expressions never return.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

from sandbox_actors.protocol.texts import LONGEST, bounded
from sandbox_actors.protocol.worker_requests import EndLog, Followed, FollowLog, Ping
from sandbox_actors.worker.line_limit import LineLimit, LineTookTooLong
from sandbox_actors.worker.link import DaemonLink
from sandbox_actors.worker.log_lines import Line, LogLines
from sandbox_actors.worker.progress_bars import split_bar
from sandbox_actors.worker.reporter import Reporter
from sandbox_actors.worker.run_watcher import LogRunWatcher

POLL, POLL_IDLE = 0.005, 0.04
"""Seconds between two reads of a log that grows, and of one that has not grown for a while: a metric is visible after
this and one commit."""

FLUSH_LINES = 250
"""Lines after which the points found so far are sent, though there are more lines to read."""

SLOW_LINES = 3
"""After so many lines that took too long, the component gets no more lines."""

QUOTED = 200
"""Characters of the first slow line that are reported."""


class LogFollower:
    """Follows the log of one `FollowLog` task. `component` has `_watch_run`, or is None if only bars are wanted."""

    def __init__(self, link: DaemonLink, task: FollowLog, component: Any, watcher: LogRunWatcher) -> None:
        self._link, self._task, self._component, self._watcher = link, task, component, watcher
        self._lines = LogLines(task.log, task.begin)
        self._reporter = Reporter(link, task.run)
        self._limit = LineLimit()
        self._end: int | None = None
        self._read = self._errors = self._slow = 0
        self._first_error = self._first_slow = ""

    def follow(self) -> Followed:
        """Read until `EndLog` arrives, then the rest."""
        self._reporter.start()
        poll = POLL
        with self._limit:
            while self._end is None:
                before = self._read
                self._parse(self._lines.read())
                poll = POLL if self._read > before else min(poll * 1.2, POLL_IDLE)
                self._answer_daemon(poll)
            self._parse(self._lines.read())
            self._parse(self._lines.finish())
        self._reporter.close()
        while not self._reporter.is_closed:
            self._answer_daemon(POLL)
        self._reporter.flush()
        self._link.reply(self._end, None)
        return Followed(
            lines=self._read,
            points=self._reporter.points,
            errors=self._errors,
            first_error=self._first_error,
            slow=self._slow,
            first_slow=self._first_slow,
            is_given_up=self._slow >= SLOW_LINES,
        )

    def _answer_daemon(self, timeout: float) -> None:
        """Answer one ask of the daemon, waiting `timeout` seconds for it."""
        self._limit.is_due = False
        asked = self._link.next_task(timeout)
        if asked is None:
            return
        id, message = asked
        if isinstance(message, Ping):
            self._link.reply(id, None)
        elif isinstance(message, EndLog) and message.run == self._task.run:
            self._end = id
        else:
            kind = type(message).__name__
            self._link.fail(id, RuntimeError(f"the log watcher of run {self._task.run} does not answer {kind}"))

    def _parse(self, lines: Iterator[Line]) -> None:
        for line, position in lines:
            self._read += 1
            text = self._show_bar(line) if "%|" in line else [line]
            if self._component is not None:
                for part in text:
                    self._watch(part)
                self._queue_points(position)
            if self._read % FLUSH_LINES == 0:
                self._reporter.flush()
            while self._limit.is_due or self._reporter.is_full:
                self._reporter.flush()
                self._answer_daemon(POLL if self._reporter.is_full else 0.0)
        self._reporter.flush()

    def _show_bar(self, line: str) -> list[str]:
        """Report the progress bar in `line`, and return the texts in it that count as lines. What goes wrong here loses
        the bar of this line, and nothing else."""
        try:
            self._limit.begin()
            bar, text = split_bar(line)
            self._limit.end()
        except (Exception, LineTookTooLong):
            self._limit.end()
            return [line]
        if bar is not None:
            self._reporter.show(bar)
        return text

    def _watch(self, line: str) -> None:
        """An error in a component's `_watch_run` loses the metric, never the training: it is reported at the end."""
        try:
            self._limit.begin()
            try:
                self._component._watch_run(line)
            except Exception:
                self._errors += 1
                self._first_error = self._first_error or bounded(traceback.format_exc(), LONGEST // 2)
            self._limit.end()
        except LineTookTooLong:
            self._limit.end()
            self._skip_line(line)

    def _skip_line(self, line: str) -> None:
        """Drop the points of a line in the middle of which `_watch_run` was stopped."""
        self._watcher.points = []
        self._slow += 1
        self._first_slow = self._first_slow or line[:QUOTED]
        if self._slow == SLOW_LINES:
            self._component = None

    def _queue_points(self, position: int) -> None:
        """Queue the points of the line that ends at `position`, unless an earlier log watcher has reported them."""
        points = self._watcher.points
        if points:
            self._watcher.points = []
            if position > self._task.reported:
                self._reporter.add(position, points)
