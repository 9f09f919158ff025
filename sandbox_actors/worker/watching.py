"""The watcher as a component sees it: `watch` a value, `query` one. The values go to the daemon's SandboxWatcher."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import msgspec

from sandbox_actors.messages import Point, Pull, Pulled, Query, Report, points_of
from sandbox_actors.worker.link import Link
from sandbox_actors.worker.values import plain

SOURCE = "component"


class RunWatcher:
    """Given to a component in its own process: a call returns when the value is stored."""

    def __init__(self, link: Link, run: str) -> None:
        self._link, self._run = link, run
        self._positions, self._turn = itertools.count(1), threading.Lock()

    def watch(self, res: Any, meta_name: str = "", step: int | None = None) -> None:
        """Record `res` under `meta_name`, a mapping flattened with dots. Without `step` it is a result."""
        points = points_of(plain(res, meta_name), meta_name, step)
        with self._turn:  # of two reports under way, the daemon might take the later one first
            self._link.ask(Report(run=self._run, source=SOURCE, position=next(self._positions), points=points))

    def query(self, meta_name: str) -> Any:
        """The newest value recorded under `meta_name` in this experiment, or None."""
        return msgspec.msgpack.decode(self._link.ask(Query(run=self._run, name=meta_name)))

    def pull(self, after: int, wait: float) -> Pulled:
        """The metrics of this experiment after sequence number `after`, waiting up to `wait` seconds for one."""
        return msgspec.msgpack.decode(self._link.ask(Pull(run=self._run, after=after, wait=wait)), type=Pulled)


class LogRunWatcher(RunWatcher):
    """Given to a component in its log watcher: values are gathered, and handed on with the next report."""

    def __init__(self, link: Link, run: str) -> None:
        super().__init__(link, run)
        self.points: list[Point] = []

    def watch(self, res: Any, meta_name: str = "", step: int | None = None) -> None:
        self.points += points_of(plain(res, meta_name), meta_name, step)
