"""SandboxWatcher: all metrics are recorded through it, and it wakes the followers of an experiment.

Lasting state (experiments, jobs, metrics) is committed to the store first; then followers are woken and read it.
Progress bars are in memory only, the newest of each job, so that a slow follower gets one answer and not a queue of
them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import trio

from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.protocol.client_requests import Changed
from sandbox_actors.protocol.rows import (
    ENDED,
    MetricRow,
    Point,
    ProgressBar,
    Value,
    points_of,
)
from sandbox_actors.protocol.texts import bounded_line
from sandbox_actors.protocol.worker_requests import Pulled
from sandbox_actors.store.queries import CFGS
from sandbox_actors.store.store import Change, Position, Store

LONGEST_WAIT = 60.0
"""Seconds after which a follower is answered even if nothing has changed."""

BATCH_POINTS = 2_000
"""Points of a result or of configs that are recorded in one transaction."""

LABEL = 200
"""Characters that a progress bar shows."""

LOG, BEGIN, RESULT = "log", "log-begin", "result"
"""Sources of a run: its log watcher, the position in the log at which the run began, and what it returned."""


class _Feed:
    """Shared by the followers of one experiment: the progress bars of its jobs, and the event that wakes them all."""

    def __init__(self) -> None:
        self.bars: dict[str, ProgressBar] = {}
        self.revision = 0
        self.changed = trio.Event()

    def show_bars(self, bars: dict[str, ProgressBar]) -> None:
        """Show `bars` from now on, and no others."""
        if bars != self.bars:
            self.bars = bars
            self.revision += 1

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class SandboxWatcher:
    """One for the whole daemon. `experiment` is an id everywhere; every method returns when the store has committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._feeds: dict[str, _Feed] = {}
        store.on_change = self._on_change

    # --- the watcher of Data-Juicer Sandbox -------------------------------------------------------------------------

    async def watch_cfgs(self, experiment: str, cfgs: Mapping[str, Any]) -> None:
        """Record configs by name: `{"sandbox": {...}, "train": {...}}`, flattened with dots, as results, once:
        a resumed experiment has the same."""
        await self._watch_all(JobPlace(experiment), points_of(dict(cfgs), CFGS), f"{experiment}.{CFGS}")

    async def watch(self, place: JobPlace, res: Any, step: int | None = None, run: str = "") -> None:
        """Record a result of a job, named by its meta_name; of a mapping, each leaf as `<meta_name>.<key>...`. That of
        a `run` is recorded once, also where an earlier daemon has recorded a part of it."""
        await self._watch_all(place, points_of(res, place.meta_name, step), run)

    async def watch_points(self, place: JobPlace, points: Sequence[Point], position: Position | None = None) -> None:
        """Record points of a job as they come from a worker: see `Store.add_points`."""
        if points:
            await self._store.add_points(place, points, position)

    async def _watch_all(self, place: JobPlace, points: Iterator[Point], run: str) -> None:
        """Record any number of points, the same in each call with this `run`, in transactions of `BATCH_POINTS`: other
        changes, and the answers to clients, have their turn between them."""
        number = 0
        while batch := list(itertools.islice(points, BATCH_POINTS)):
            number += 1
            await self.watch_points(place, batch, Position(run, RESULT, number) if run else None)

    async def begin_log(self, experiment: str, run: str, size: int) -> tuple[int, int]:
        """The position in its log at which a run begins, and up to which it is reported. `size` is that of the log
        before the run.

        Only the first call for a run uses `size`; later ones, of other daemons too, get the same beginning.
        """
        begin = await self._store.position(run, BEGIN)
        if not begin:
            begin = size + 1  # 0 is what the store returns if it has no position
            await self._store.add_points(JobPlace(experiment), [], Position(run, BEGIN, begin))
        return begin - 1, await self._store.position(run, LOG)

    async def query(self, experiment: str, meta_name: str) -> Value:
        """The newest value of a metric, named as in `Store.metrics`; None where there is none."""
        row = await self._store.newest_metric(experiment, meta_name)
        return row.value if row else None

    async def query_job(self, place: JobPlace) -> list[MetricRow]:
        """All results of the jobs of that meta_name in that iteration, oldest first."""
        return await self._store.job_results(place)

    # --- progress -------------------------------------------------------------------------------------------------

    def show_progress(self, place: JobPlace, bar: ProgressBar | None) -> None:
        """Replace the bar of a job in the running iteration; None removes it."""
        feed = self._feed(place.experiment)
        others = {job: each for job, each in feed.bars.items() if job != str(place.index)}
        feed.show_bars(others if bar is None else {**others, str(place.index): _short_bar(bar)})
        feed.wake()

    def _on_change(self, change: Change) -> None:
        """After a commit: remove the bars of jobs that have ended, and wake the followers."""
        feed = self._feeds.get(change.experiment)
        if feed is None:
            return
        ended = {str(row.index) for row in change.jobs if row.state in ENDED}
        feed.show_bars({} if change.has_ended else {job: bar for job, bar in feed.bars.items() if job not in ended})
        feed.wake()
        if change.has_ended:
            del self._feeds[change.experiment]  # those that it wakes need it no more

    # --- for followers --------------------------------------------------------------------------------------------

    async def changes(self, experiment: str, after: int = 0, after_progress: int = 0, wait: float = 0.0) -> Changed:
        """See `client_requests.Changes`. An experiment that has ended is answered at once; configs are left out."""
        deadline = trio.current_time() + min(wait, LONGEST_WAIT)
        while True:
            woken = self._feed(experiment).changed
            changed = await self._changed(experiment, after, after_progress)
            is_news = changed.finished or changed.next > after or changed.progress is not None
            if is_news or not await _is_set_before(woken, deadline):
                return changed

    async def pull(self, experiment: str, after: int, wait: float = 0.0) -> Pulled:
        """See `worker_requests.Pull`: the metrics alone, for exporters."""
        deadline = trio.current_time() + min(wait, LONGEST_WAIT)
        while True:
            woken = self._feed(experiment).changed
            delta = await self._store.changes(experiment, after)
            after = delta.next
            is_finished = delta.is_all and delta.state in ENDED
            if delta.metrics or is_finished or not await _is_set_before(woken, deadline):
                return Pulled(metrics=delta.metrics, next=after, finished=is_finished)

    async def _changed(self, experiment: str, after: int, after_progress: int) -> Changed:
        delta = await self._store.changes(experiment, after)
        feed = self._feed(experiment)
        # Not `>`: the count starts again with the daemon.
        has_moved = feed.revision != after_progress
        return Changed(
            next=delta.next,
            next_progress=feed.revision,
            experiment=delta.experiment,
            jobs=delta.jobs,
            metrics=[row for row in delta.metrics if not row.name.startswith(f"{CFGS}.")],
            progress=dict(feed.bars) if has_moved else None,
            finished=delta.is_all and delta.state in ENDED,
        )

    def _feed(self, experiment: str) -> _Feed:
        return self._feeds.setdefault(experiment, _Feed())


def _short_bar(bar: ProgressBar) -> ProgressBar:
    return msgspec.structs.replace(bar, label=bounded_line(bar.label, LABEL), unit=bounded_line(bar.unit, LABEL))


async def _is_set_before(event: trio.Event, deadline: float) -> bool:
    with trio.move_on_at(deadline):
        await event.wait()
        return True
    return False
