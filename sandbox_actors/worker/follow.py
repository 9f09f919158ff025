"""The log watcher: follows one run's log, in a process of its own, and turns lines into points and progress.

A process of its own, because the one that trains holds the GIL for as long as it likes, and may die: the last lines
before a crash are those that matter.
"""

from __future__ import annotations

import re
import time
import traceback
from typing import Any

from sandbox_actors.messages import EndLog, Followed, FollowLog, ProgressBar, Report
from sandbox_actors.worker.lines import LogLines
from sandbox_actors.worker.link import Link
from sandbox_actors.worker.watching import LogRunWatcher

POLL = 0.02
"""Seconds between two looks at a log that does not grow. A metric is seen within this and one commit."""

PROGRESS_INTERVAL = 0.1
"""Seconds between two reports of progress."""

BATCH = 500
"""Points handed on in one report."""

_BAR = re.compile(
    r"(?:(?P<label>[^|]*?):\s*)?\s*\d+%\|[^|]*\|\s*(?P<done>[\d.]+)(?P<done_unit>[kMG]?)/(?P<total>[\d.]+)(?P<total_unit>[kMG]?)"
    r"[^\[]*\[[^\]]*?(?:,\s*[\d.?]+\s*(?:s/)?(?P<unit>[A-Za-z]+)(?:/s)?)?[^\]]*\]"
)
_SCALE = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


class LogFollower:
    """Follows the log of one `FollowLog` task. `component` has `_watch_run`, or is None where only bars are of use."""

    def __init__(self, link: Link, task: FollowLog, component: Any, watcher: LogRunWatcher) -> None:
        self._link, self._task, self._component, self._watcher = link, task, component, watcher
        self._lines = LogLines(task.log)
        self._bar: ProgressBar | None = None
        self._bar_reported = 0.0
        self._read = self._points = self._errors = 0
        self._first_error = ""

    def follow(self) -> Followed:
        """Read until `EndLog` comes, then what is left."""
        end = None
        while end is None:
            self._take(self._lines.read())
            self._report()
            end = self._next_end()
        self._take(self._lines.read())
        self._take(self._lines.finish())
        self._report(is_last=True)
        self._link.reply(end, None)
        return Followed(lines=self._read, points=self._points, errors=self._errors, first_error=self._first_error)

    def _next_end(self) -> int | None:
        """Sleep until the next look is due; the id of the `EndLog` that came meanwhile, if one did."""
        asked = self._link.next_task(POLL)
        if asked is None:
            return None
        id, message = asked
        if isinstance(message, EndLog) and message.run == self._task.run:
            return id
        self._link.fail(
            id, RuntimeError(f"a log watcher that follows {self._task.run} cannot {type(message).__name__}")
        )
        return None

    def _take(self, lines: Any) -> None:
        for line in lines:
            self._read += 1
            bar, text = split_bar(line)
            self._bar = bar or self._bar
            if self._component is not None:
                for part in text:
                    self._watch(part)
            if len(self._watcher.points) >= BATCH:
                self._report()

    def _watch(self, line: str) -> None:
        """A mistake in a component's `_watch_run` costs the metric, never the training: it is told at the end."""
        try:
            self._component._watch_run(line)
        except Exception:
            self._errors += 1
            self._first_error = self._first_error or traceback.format_exc()

    def _report(self, is_last: bool = False) -> None:
        points, self._watcher.points = self._watcher.points, []
        now = time.monotonic()
        bar = self._bar if is_last or now - self._bar_reported >= PROGRESS_INTERVAL else None
        if not points and bar is None:
            return
        self._link.ask(Report(run=self._task.run, points=points, progress=bar))
        self._points += len(points)
        if bar is not None:
            self._bar, self._bar_reported = None, now


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
