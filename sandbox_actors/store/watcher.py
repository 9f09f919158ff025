"""SandboxWatcher: the one place where metrics go, and from which everyone who follows an experiment is woken.

What lasts (experiments, jobs, metrics) is written to the store first and told afterwards. Progress bars are only for
those who look now: they are kept in memory, the newest of each job, so that a follower who comes late or seldom gets
one answer and not a queue of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import trio
from msgspec import UNSET, UnsetType

from sandbox_actors.protocol.client_requests import Changed
from sandbox_actors.protocol.rows import (
    ENDED,
    ExperimentRow,
    JobRow,
    MetricRow,
    Point,
    ProgressBar,
    State,
    Value,
    points_of,
)
from sandbox_actors.protocol.worker_requests import Pulled
from sandbox_actors.store.queries import CFGS
from sandbox_actors.store.store import Outputs, Place, Store

LONGEST_WAIT = 60.0
"""Seconds after which a follower is answered even if nothing has happened."""

LONGEST_TEXT = 32 * 1024
"""Characters of one value."""

LOG, BEGIN = "log", "log-begin"
"""Sources of a run: its log watcher, and where in the log it began."""


class _Feed:
    """What followers of one running experiment share: the bars of its jobs, and the event that wakes them all."""

    def __init__(self) -> None:
        self.bars: dict[str, ProgressBar] = {}
        self.revision = 0
        self.changed = trio.Event()

    def keep_bars(self, bars: dict[str, ProgressBar]) -> None:
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

    # --- the watcher of the seed ----------------------------------------------------------------------------------

    async def watch_cfgs(self, experiment: str, cfgs: Mapping[str, Any]) -> None:
        """Record configs by name: `{"sandbox": {...}, "train": {...}}`, flattened with dots, as results."""
        await self.watch_points(experiment, points_of(dict(cfgs), CFGS))

    async def watch(
        self,
        experiment: str,
        res: Any,
        meta_name: str = "",
        step: int | None = None,
        *,
        pipeline: str = "",
        iter: int = 1,
    ) -> None:
        """Record a result of job `meta_name`; of a mapping, each leaf as `<meta_name>.<key>...`."""
        points = points_of(res, meta_name, step)
        await self.watch_points(experiment, points, pipeline=pipeline, job=meta_name, iter=iter)

    async def watch_points(
        self,
        experiment: str,
        points: Sequence[Point],
        *,
        pipeline: str = "",
        job: str = "",
        iter: int = 1,
        run: str = "",
        source: str = "",
        position: int = 0,
    ) -> None:
        """Record points as they come from a worker; `job` is the meta_name of the job they come from.

        For `run`, `source` and `position` see `Store.add_points`. Text longer than `LONGEST_TEXT` is cut, and says so:
        it would not fit into an answer with others.
        """
        if points:
            points = [_cut(point) for point in points]
            await self._store.add_points(
                experiment, points, pipeline=pipeline, job=job, iter=iter, run=run, source=source, position=position
            )
            self._feed(experiment).wake()

    async def begin_log(self, experiment: str, run: str, size: int) -> tuple[int, int]:
        """Where in its log a run begins, and up to where it is reported. `size` is that of the log before the run.

        What was said when a run was begun stays true for as long as it is under way, whoever asks.
        """
        begin = await self._store.position(run, BEGIN)
        if not begin:
            begin = size + 1  # 0 is what the store says where it knows nothing
            await self._store.add_points(
                experiment, [], pipeline="", job="", iter=0, run=run, source=BEGIN, position=begin
            )
        return begin - 1, await self._store.position(run, LOG)

    async def query(self, experiment: str, meta_name: str) -> Value:
        """The newest value of a metric, named as in `Store.metrics`; None where there is none."""
        row = await self._store.newest_metric(experiment, meta_name)
        return row.value if row else None

    async def query_job(self, experiment: str, pipeline: str, job: str, iter: int) -> list[MetricRow]:
        """All results that the jobs of that meta_name have told in one iteration, oldest first."""
        return await self._store.job_results(experiment, pipeline, job, iter)

    # --- what the coordinator tells -------------------------------------------------------------------------------

    async def update_experiment(
        self,
        experiment: str,
        *,
        state: State | UnsetType = UNSET,
        started: float | UnsetType | None = UNSET,
        finished: float | UnsetType | None = UNSET,
        error: str | UnsetType = UNSET,
        reason: str | UnsetType = UNSET,
    ) -> ExperimentRow:
        """`Store.update_experiment`, and wake the followers. The bars go away when it has ended."""
        row = await self._store.update_experiment(
            experiment, state=state, started=started, finished=finished, error=error, reason=reason
        )
        if row.state in ENDED:
            self._feed(experiment).keep_bars({})
        self._feed(experiment).wake()
        return row

    async def job_rows(self, experiment: str) -> list[JobRow]:
        """`Store.job_rows`."""
        return await self._store.job_rows(experiment)

    async def take_over(self, experiment: str, earlier: str, places: Mapping[Place, Place]) -> None:
        """`Store.take_over`, and wake the followers."""
        await self._store.take_over(experiment, earlier, places)
        self._feed(experiment).wake()

    async def put_jobs(self, experiment: str, rows: Sequence[JobRow]) -> None:
        """`Store.put_jobs`, and wake the followers. The bars of jobs that have ended go away."""
        await self._store.put_jobs(experiment, rows)
        self._drop_bars(experiment, rows)
        self._feed(experiment).wake()

    async def finish_job(self, experiment: str, row: JobRow, outputs: Outputs) -> None:
        """`Store.finish_job`, and wake the followers. The job's bar goes away."""
        await self._store.finish_job(experiment, row, outputs)
        self._drop_bars(experiment, [row])
        self._feed(experiment).wake()

    def show_progress(self, experiment: str, index: int, bar: ProgressBar | None) -> None:
        """Put `bar` in the place of the one that job `index` of the running iteration has; None takes it away."""
        feed = self._feed(experiment)
        others = {job: each for job, each in feed.bars.items() if job != str(index)}
        feed.keep_bars(others if bar is None else {**others, str(index): bar})
        feed.wake()

    # --- what followers ask ---------------------------------------------------------------------------------------

    async def changes(self, experiment: str, after: int = 0, after_progress: int = 0, wait: float = 0.0) -> Changed:
        """See `messages.Changes`. An experiment that has ended is answered at once; configs are left out."""
        deadline = trio.current_time() + min(wait, LONGEST_WAIT)
        while True:
            woken = self._feed(experiment).changed
            changed = await self._changed(experiment, after, after_progress)
            is_news = changed.finished or changed.next > after or changed.progress is not None
            if is_news or not await _comes_before(woken, deadline):
                return changed

    async def pull(self, experiment: str, after: int, wait: float = 0.0) -> Pulled:
        """See `messages.Pull`: the metrics alone, for those who carry them elsewhere."""
        deadline = trio.current_time() + min(wait, LONGEST_WAIT)
        while True:
            woken = self._feed(experiment).changed
            delta = await self._store.changes(experiment, after)
            after = delta.next
            is_finished = delta.is_all and delta.state in ENDED
            if delta.metrics or is_finished or not await _comes_before(woken, deadline):
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

    def _drop_bars(self, experiment: str, rows: Sequence[JobRow]) -> None:
        feed = self._feed(experiment)
        ended = {str(row.index) for row in rows if row.state in ENDED}
        feed.keep_bars({job: bar for job, bar in feed.bars.items() if job not in ended})


def _cut(point: Point) -> Point:
    if not isinstance(point.value, str) or len(point.value) <= LONGEST_TEXT:
        return point
    left_out = len(point.value) - LONGEST_TEXT
    return msgspec.structs.replace(point, value=f"{point.value[:LONGEST_TEXT]}... [{left_out} characters more]")


async def _comes_before(event: trio.Event, deadline: float) -> bool:
    with trio.move_on_at(deadline):
        await event.wait()
        return True
    return False
