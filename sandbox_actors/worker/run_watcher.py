"""The watcher as a component sees it: `watch` a value, `query` one. The values go to the daemon's SandboxWatcher."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sandbox_actors.errors import ContextError, Refused, SandboxError
from sandbox_actors.protocol.rows import LONGEST_NAME, Point, points_of
from sandbox_actors.protocol.worker_requests import Pull, Pulled, Query, Report, TakeIn
from sandbox_actors.worker.link import DaemonLink
from sandbox_actors.worker.plain_values import QUOTED, plain
from sandbox_actors.worker.run_journal import Journal

MOST_POINTS, MOST_TEXT = 10_000, 2 * 1024 * 1024
"""Values that one call of `watch`, or all of them for one line of the log, may record, and characters in their names
and texts."""

DIRECT = "direct"
"""Source of points that are sent without a journal."""


class RunWatcher:
    """Given to a component in its own process. `watch` returns when the value is stored or, if there is no daemon, when
    it is in the journal in `folder`, which the next daemon reads."""

    def __init__(self, link: DaemonLink, run: str, folder: str = "") -> None:
        self._link, self._run = link, run
        self._journal = Journal(folder) if folder else None
        self._turn = threading.Lock()

    def watch(self, res: Any, meta_name: str = "", step: int | None = None) -> None:
        """Record `res` under `meta_name`, a mapping flattened with dots. Without `step` it is a result.

        Raises Refused for more than `MOST_POINTS` values, or `MOST_TEXT` characters, and ContextError for a value or a
        step that cannot be recorded.
        """
        points = taken(_points(res, meta_name, step))
        if self._journal is None or not self._journal.append(points):
            self._report(points)
            return
        try:
            self._link.ask(TakeIn(run=self._run))
        except SandboxError:
            return  # no daemon, or one in trouble, which must not become the run's: the journal is read again

    def _report(self, points: list[Point]) -> None:
        with self._turn:  # two concurrent reports could be stored in the wrong order
            self._link.ask(Report(run=self._run, source=DIRECT, position=time.monotonic_ns(), points=points))

    def query(self, meta_name: str) -> Any:
        """The newest value recorded under `meta_name` in this experiment, or None."""
        return self._link.ask_until_answered(Query(run=self._run, name=meta_name))

    def pull(self, after: int, wait: float) -> Pulled:
        """The metrics of this experiment after sequence number `after`, waiting up to `wait` seconds for one."""
        message = Pull(run=self._run, after=after, wait=wait)
        return self._link.ask_until_answered(message)


class LogRunWatcher(RunWatcher):
    """Given to a component in its log watcher: values are collected, and sent with the next report."""

    def __init__(self, link: DaemonLink, run: str) -> None:
        super().__init__(link, run)
        self.points: list[Point] = []

    def watch(self, res: Any, meta_name: str = "", step: int | None = None) -> None:
        self.points += taken(_points(res, meta_name, step), self.points)


def _points(res: Any, meta_name: object, step: object) -> Iterator[Point]:
    name = "" if meta_name is None else str(meta_name)[: LONGEST_NAME + 1]  # `points_of` cuts the names that it makes
    return points_of(plain(res, name or "the value", is_shown=True), name, _whole(step))


def _whole(step: Any) -> int | None:
    """A step as the store has it; numpy and torch have whole numbers of their own."""
    if step is None:
        return None
    try:
        if (number := int(step)) == step and abs(number) < 2**63:
            return number
    except Exception:  # whatever a foreign type raises: it is not a number
        pass
    given = ascii(step)[:QUOTED] if isinstance(step, (str, int, float)) else f"a {type(step).__name__}"
    raise ContextError(f"the step of a metric must be a whole number of at most 64 bits, not {given}")


def taken(points: Iterable[Point], before: Sequence[Point] = ()) -> list[Point]:
    """`points` as a list, to be sent after those `before` in one message, which the daemon records in one transaction.

    Raises Refused where there are too many: a mapping with a key for each sample, for example.
    """
    found, size = list[Point](), sum(map(size_of, before))
    for point in points:
        found.append(point)
        size += size_of(point)
        if len(before) + len(found) > MOST_POINTS or size > MOST_TEXT:
            raise Refused(
                f"watch() was given too much at once (up to {point.name[:80]!r}): it records at most {MOST_POINTS:,} "
                f"values, and {MOST_TEXT:,} characters in their names and texts. Watch a summary, and write the rest "
                "to a file"
            )
    return found


def size_of(point: Point) -> int:
    """Characters of a point."""
    return len(point.name) + (len(point.value) if isinstance(point.value, str) else 0)
