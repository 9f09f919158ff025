"""The log watcher: follows one run's log, in a process of its own, and turns lines into points and progress.

A process of its own, because the one that trains holds the GIL for as long as it likes, and may die: the last lines
before a crash are those that matter.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from typing import Any

from sandbox_actors.messages import EndLog, Followed, FollowLog, Ping, ProgressBar
from sandbox_actors.worker.lines import Line, LogLines
from sandbox_actors.worker.link import Link
from sandbox_actors.worker.reporting import Reporter
from sandbox_actors.worker.watching import LogRunWatcher

POLL = 0.01
"""Seconds between two looks at a log that does not grow. A metric is seen within this and one commit."""

LOOK_LINES = 500
"""Lines after which the daemon is answered, and what was found is handed on."""

_BAR = re.compile(
    r"(?:(?P<label>[^|]*?):\s*)?\s*\d+%\|[^|]*\|\s*(?P<done>[\d.]+)(?P<done_unit>[kMG]?)/(?P<total>[\d.]+)(?P<total_unit>[kMG]?)"
    r"[^\[]*\[[^\]]*?(?:,\s*[\d.?]+\s*(?:s/)?(?P<unit>[A-Za-z]+)(?:/s)?)?[^\]]*\]"
)
_SCALE = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


class LogFollower:
    """Follows the log of one `FollowLog` task. `component` has `_watch_run`, or is None where only bars are of use."""

    def __init__(self, link: Link, task: FollowLog, component: Any, watcher: LogRunWatcher) -> None:
        self._link, self._task, self._component, self._watcher = link, task, component, watcher
        self._lines = LogLines(task.log, task.begin)
        self._reporter = Reporter(link, task.run)
        self._end: int | None = None
        self._read = self._errors = 0
        self._first_error = ""

    def follow(self) -> Followed:
        """Read until `EndLog` comes, then what is left."""
        self._reporter.start()
        while self._end is None:
            self._take(self._lines.read())
            self._look(POLL)
        self._take(self._lines.read())
        self._take(self._lines.finish())
        self._reporter.close()
        while not self._reporter.is_closed:
            self._look(POLL)
        self._reporter.flush()
        self._link.reply(self._end, None)
        points = self._reporter.points
        return Followed(lines=self._read, points=points, errors=self._errors, first_error=self._first_error)

    def _look(self, timeout: float) -> None:
        """Answer what the daemon asks, waiting `timeout` seconds for it."""
        asked = self._link.next_task(timeout)
        if asked is None:
            return
        id, message = asked
        if isinstance(message, Ping):
            self._link.reply(id, None)
        elif isinstance(message, EndLog) and message.run == self._task.run:
            self._end = id
        else:
            told = f"a log watcher that follows {self._task.run} cannot {type(message).__name__}"
            self._link.fail(id, RuntimeError(told))

    def _take(self, lines: Iterator[Line]) -> None:
        for line, position in lines:
            self._read += 1
            bar, text = split_bar(line)
            if bar is not None:
                self._reporter.show(bar)
            if self._component is not None:
                for part in text:
                    self._watch(part)
                self._hand_on(position)
            if self._read % LOOK_LINES == 0:
                self._reporter.flush()
                self._look(0)
                while self._reporter.is_full:
                    self._look(POLL)
        self._reporter.flush()

    def _watch(self, line: str) -> None:
        """A mistake in a component's `_watch_run` costs the metric, never the training: it is told at the end."""
        try:
            self._component._watch_run(line)
        except Exception:
            self._errors += 1
            self._first_error = self._first_error or traceback.format_exc()

    def _hand_on(self, position: int) -> None:
        """Report the points of the line that ends at `position`, unless another log watcher has."""
        points = self._watcher.points
        if points:
            self._watcher.points = []
            if position > self._task.reported:
                self._reporter.add(position, points)


def split_bar(line: str) -> tuple[ProgressBar | None, list[str]]:
    """The progress bar of tqdm that `line` shows, if it shows one, and the line; in two where text follows the bar.

    A bar does not end its line, so that the next `print` continues it: what it printed is a line of its own.
    """
    match = _BAR.search(line) if "%|" in line else None
    if match is None:
        return None, [line]
    done = float(match["done"]) * _SCALE[match["done_unit"]]
    total = float(match["total"]) * _SCALE[match["total_unit"]]
    bar = ProgressBar(label=(match["label"] or "").strip(), done=done, total=total, unit=match["unit"] or "")
    return bar, [part for part in (line[: match.end()], line[match.end() :]) if part.strip()]
