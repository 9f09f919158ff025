"""The state that outlives the daemon: experiments, their jobs and outputs, and metrics, in one SQLite file.

Every method returns when its changes are committed. Committed changes outlive a power cut, except metrics and the
progress of jobs that have not ended: these outlive the daemon only.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.experiment.model import JobKey
from sandbox_actors.experiment.run_id import RunId
from sandbox_actors.protocol.client_requests import Submit
from sandbox_actors.protocol.rows import (
    ENDED,
    EnvRecord,
    ExperimentDetail,
    ExperimentRow,
    JobRow,
    MetricRow,
    Point,
    State,
)
from sandbox_actors.protocol.texts import LONGEST, bounded
from sandbox_actors.store import queries
from sandbox_actors.store.database import Database, open_database
from sandbox_actors.store.details import detail_page
from sandbox_actors.store.queries import PAGE_ROWS, Connection
from sandbox_actors.store.queries import Outputs as Outputs
from sandbox_actors.store.salvage import Salvage, recover
from sandbox_actors.store.schema import KEYS, MIGRATIONS, ORPHANS

ROW_TEXT = 2 * LONGEST
"""Characters of a text in a row: an error, and what is put before it."""


@dataclass(frozen=True)
class Position:
    """How far one `source` of a run has reported: a number that never decreases (see `Report`)."""

    run: str
    source: str
    value: int


@dataclass(frozen=True)
class Change:
    """A change of an experiment has been committed: the rows of `jobs`, or its end (`has_ended`), or anything else."""

    experiment: str
    jobs: Sequence[JobRow] = ()
    has_ended: bool = False


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """The rows written after some sequence number, up to and including `next`. `is_all`: none is left.

    `state` is that of the experiment, even if its row has not changed.
    """

    next: int
    state: State
    experiment: ExperimentRow | None
    jobs: list[JobRow]
    metrics: list[MetricRow]
    is_all: bool


class Store:
    """Created by `open_store`. Experiments are named by the `id` of their row; `find_experiment` resolves other
    names."""

    def __init__(self, database: Database, last_seq: int) -> None:
        self._database = database
        # Used only in the writer thread, in the order of its commits. The number of a failed transaction is not used
        # again.
        self._seq = itertools.count(last_seq + 1)
        self.on_change: Callable[[Change], None] = lambda change: None
        """Called after each commit of which the followers of an experiment are notified."""

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present, and what to do; empty if the disk works."""
        return self._database.trouble

    def promptly(self) -> AbstractContextManager[None]:
        """In the block, calls of this task raise StoreError where they would have to wait for a disk.

        Outside of it, calls wait until a full or failing disk works again, and are then carried out.
        """
        return self._database.promptly()

    def stop_waiting(self, seconds: float) -> None:
        """From now on no call waits longer than `seconds` for the disk: it raises StoreError. For a daemon that
        ends."""
        self._database.stop_waiting(seconds)

    # --- experiments ----------------------------------------------------------------------------------------------

    async def add_experiment(
        self, submit: Submit, *, name: str, project: str, work_dir: str, submitted: float, jobs: Sequence[JobRow] = ()
    ) -> tuple[ExperimentRow, bool]:
        """A new experiment in state `waiting`, with the jobs of its first iteration. The `seq` of `jobs` is ignored.

        Of a submission whose key is there already, the experiment that it made, and False. If it raises, the experiment
        does not exist, or is removed as soon as the disk answers.
        """

        def work(db: Connection) -> tuple[ExperimentRow, bool]:
            if submit.key and (known := queries.submitted_as(db, submit.key)):
                return queries.experiment_row(db, known), False
            cursor = db.execute(
                "INSERT INTO experiments (seq, queued, name, project, state, source, cwd, work_dir, submitted) "
                "VALUES (?1, ?1, ?, ?, 'waiting', ?, ?, ?, ?)",
                (next(self._seq), name, project, submit.source, submit.cwd, work_dir, submitted),
            )
            id = str(cursor.lastrowid)
            values = (id, msgspec.msgpack.encode(submit), submit.key or None)
            db.execute("INSERT INTO submissions (experiment, submit, key) VALUES (?, ?, ?)", values)
            self._put_jobs(db, id, jobs)
            return queries.experiment_row(db, id), True

        def undo(added: tuple[ExperimentRow, bool]) -> Callable[[Connection], None]:
            row, is_new = added
            return lambda db: queries.drop_experiment(db, row.id) if is_new else None

        return await self._database.write(work, undo=undo)

    async def reopen(self, row: ExperimentRow, jobs: Sequence[JobRow], again: Sequence[JobRow]) -> ExperimentRow:
        """Let an experiment that has ended wait again, with the rows `again` in place of `jobs`. If it raises, the
        experiment stays as it was, or is that again as soon as the disk answers."""

        def put(db: Connection, jobs: Sequence[JobRow], *values: Any) -> ExperimentRow:
            self._put_jobs(db, row.id, jobs)
            query = "UPDATE experiments SET seq = ?1, queued = ?1, state = ?, finished = ?, error = ? WHERE id = ?"
            db.execute(query, (next(self._seq), *values, row.id))
            return queries.experiment_row(db, row.id)

        def undo(_: ExperimentRow) -> Callable[[Connection], ExperimentRow]:
            return lambda db: put(db, jobs, row.state, row.finished, row.error)

        found = await self._database.write(lambda db: put(db, again, "waiting", None, ""), undo=undo)
        self.on_change(Change(row.id, again))
        return found

    async def update_experiment(
        self,
        id: str,
        *,
        state: State | UnsetType = UNSET,
        started: float | UnsetType | None = UNSET,
        finished: float | UnsetType | None = UNSET,
        error: str | UnsetType = UNSET,
        reason: str | UnsetType = UNSET,
    ) -> ExperimentRow:
        """Change what is given, and only that."""
        given = {"state": state, "started": started, "finished": finished, "error": error, "reason": reason}
        changed = {column: value for column, value in given.items() if value is not UNSET}
        assignments = "".join(f", {column} = :{column}" for column in changed)

        def work(db: Connection) -> ExperimentRow:
            values = {**changed, **_bounded_texts(changed), "seq": next(self._seq), "id": id}
            db.execute(f"UPDATE experiments SET seq = :seq{assignments} WHERE id = :id", values)
            return queries.experiment_row(db, id)

        row = await self._database.write(work)
        self.on_change(Change(id, has_ended=row.state in ENDED))
        return row

    async def find_experiment(self, wanted: str) -> ExperimentRow:
        """By id, by name (the newest of that name), `@` for the newest of all, `@~1` for the one before."""
        return await self._database.read(lambda db: queries.find_experiment(db, wanted))

    async def list_experiments(self, limit: int = 1000, before: str = "") -> list[ExperimentRow]:
        """Newest first, those before the id `before`; of an error or a reason the first line.

        May return fewer than there are: ask again before the last one until the answer is empty.
        """
        return await self._database.read(lambda db: queries.listed_experiments(db, limit, before))

    async def unfinished(self) -> list[ExperimentRow]:
        """Those that wait or run, in the order in which they were submitted or resumed: when the daemon starts, those
        that the previous one left unfinished."""
        query = f"{queries.EXPERIMENT} WHERE state IN ('waiting', 'running') ORDER BY e.queued, e.id"
        return await self._database.read(lambda db: queries.rows_of(db, ExperimentRow, query))

    async def submission(self, id: str) -> Submit:
        """What was submitted, as it was."""
        return await self._database.read(lambda db: queries.submission(db, id))

    async def experiment_detail(self, id: str, after: int = 0) -> ExperimentDetail:
        """The details of an experiment, from its part `after` on. Each pipeline of an iteration lists the entries of
        its jobs that have outputs.

        One answer is limited in size: ask again after `next` until that is None.
        """
        return await self._database.read(lambda db: detail_page(db, id, after))

    # --- jobs -----------------------------------------------------------------------------------------------------

    async def put_jobs(self, id: str, rows: Sequence[JobRow]) -> None:
        """Insert the rows, or replace those of the same iteration and index. Their `seq` is ignored."""
        # After a power cut, a job that was running is run again, whatever its row says.
        is_durable = any(row.state in ENDED for row in rows)
        await self._database.write(lambda db: self._put_jobs(db, id, rows), durable=is_durable)
        self.on_change(Change(id, rows))

    async def finish_job(self, id: str, row: JobRow, outputs: Outputs) -> None:
        """`put_jobs` for a job that succeeded, and its outputs, in one transaction."""

        def work(db: Connection) -> None:
            self._put_jobs(db, id, [row])
            encoded = msgspec.msgpack.encode(outputs)
            db.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?)", (id, row.iter, row.index, encoded))

        await self._database.write(work)
        self.on_change(Change(id, [row]))

    async def record_env(self, run: RunId, env: EnvRecord) -> None:
        """Record that `run` takes place in `env`. The first run of an attempt replaces the envs of earlier attempts."""
        encoded = msgspec.msgpack.encode(env, order="deterministic")
        digest, job = hashlib.sha256(encoded).hexdigest(), (run.experiment, run.iter, run.index)

        def work(db: Connection) -> None:
            if run.stage == 0:
                db.execute(queries.DROP_JOB_ENVS, job)
            db.execute(queries.PUT_ENV, (digest, encoded))
            db.execute(queries.PUT_JOB_ENV, (*job, digest))

        await self._database.write(work, durable=False)

    async def history(self, id: str) -> list[Outputs]:
        """The outputs of all jobs that succeeded, in the order in which the jobs run; used to resume."""
        return await self._database.read(lambda db: queries.outputs(db, id))

    async def last_started_in(self, work_dir: str, before: str) -> str | None:
        """The experiment that was started last in `work_dir`, except `before`."""
        values = (work_dir, before)
        found = await self._database.read(lambda db: db.execute(queries.LAST_STARTED_IN, values).fetchone())
        return found[0] if found else None

    async def copy_jobs(self, id: str, earlier: str, places: Mapping[JobKey, JobKey]) -> None:
        """Copy rows, outputs, envs and metrics of jobs from experiment `earlier` to `id`. `places` maps the (iteration,
        index) in `id` to that in `earlier`. The rows say where they come from."""

        def work(db: Connection) -> None:
            rows = {(row.iter, row.index): row for row in queries.job_rows(db, earlier)}
            outputs = {(each.iter, each.index): each for each in queries.outputs(db, earlier)}
            for (iter, index), then in places.items():
                reason = rows[then].reason or f"taken from experiment {earlier}"
                row = msgspec.structs.replace(rows[then], iter=iter, index=index, reason=reason)
                self._put_jobs(db, id, [row])
                moved = msgspec.structs.replace(outputs[then], iter=iter, index=index)
                values = (id, iter, index, msgspec.msgpack.encode(moved))
                db.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?)", values)
                db.execute(queries.COPY_JOB_ENVS, (id, iter, index, earlier, *then))
            for metric in queries.metrics_of(db, earlier, [rows[then] for then in places.values()]):
                db.execute(queries.ADD_POINT, {**metric, "id": id, "seq": next(self._seq)})

        await self._database.write(work)
        self.on_change(Change(id))

    async def job_rows(self, id: str) -> list[JobRow]:
        """All jobs of all iterations so far, in the order in which they run."""
        return await self._database.read(lambda db: queries.job_rows(db, id))

    async def find_job(self, id: str, wanted: str = "") -> JobRow:
        """The newest job named `wanted`, a meta_name or `pipeline.meta_name`; without a name, the newest of all.

        The newest is the one that was started last; if none has been started, the first in order.
        """
        return await self._database.read(lambda db: queries.find_job(db, id, wanted))

    # --- metrics and changes --------------------------------------------------------------------------------------

    async def add_points(self, place: JobPlace, points: Sequence[Point], position: Position | None = None) -> None:
        """Add points of a job. With a `position`, only if it is greater than the last one of its source.

        Points and position are written in one transaction, so points that are sent again are stored once.
        """

        def work(db: Connection) -> None:
            if position is not None:
                if position.value <= queries.position(db, position.run, position.source):
                    return
                db.execute(queries.PUT_POSITION, (position.run, position.source, position.value))
            columns = (place.experiment, place.pipeline, place.meta_name, place.iter)
            rows = ((next(self._seq), *columns, p.name, queries.encode_value(p.value), p.step, p.time) for p in points)
            db.executemany(queries.ADD_POINTS, rows)

        await self._database.write(work, durable=False)
        self.on_change(Change(place.experiment))

    async def position(self, run: str, source: str) -> int:
        """How far the points of one source of a run are stored; 0 if none are, or the end of the attempt is
        recorded."""
        return await self._database.read(lambda db: queries.position(db, run, source))

    async def metrics(self, id: str, name: str = "", after: int = 0, limit: int = 10_000) -> list[MetricRow]:
        """In commit order. `name` is a metric's, alone or after its job, its pipeline, or both; empty for all metrics.

        May return fewer than there are: ask again after the last one until the answer is empty.
        """

        def work(db: Connection) -> list[MetricRow]:
            if name:
                rows = queries.metrics_named(db, id, name, after)
            else:
                rows = queries.metric_rows(db, queries.METRICS_AFTER, {"id": id, "after": after})
            return queries.take_bounded(itertools.islice(rows, max(0, limit)))[0]

        return await self._database.read(work)

    async def job_results(self, place: JobPlace) -> list[MetricRow]:
        """The results (points without a step) of the jobs of that meta_name in one iteration, in commit order."""
        values = {"id": place.experiment, "pipeline": place.pipeline, "job": place.meta_name, "iter": place.iter}
        return await self._database.read(lambda db: list(queries.metric_rows(db, queries.RESULTS, values)))

    async def newest_metric(self, id: str, name: str) -> MetricRow | None:
        """The newest value of a metric, named as in `metrics`."""
        return await self._database.read(
            lambda db: next(queries.metrics_named(db, id, name, is_newest_first=True), None)
        )

    async def changes(self, id: str, after: int = 0) -> Delta:
        """The rows of an experiment that were written after sequence number `after`.

        One answer is limited in size: ask again after `next` until `is_all`.
        """

        def work(db: Connection) -> Delta:
            query = f"{queries.METRICS} AND seq > :after ORDER BY seq LIMIT :limit"
            values = {"id": id, "after": after, "limit": PAGE_ROWS}
            metrics, is_cut = queries.take_bounded(queries.metric_rows(db, query, values))
            jobs, has_more_jobs = queries.changed_job_rows(db, id, after)
            experiment = queries.experiment_row(db, id)
            ends = [metrics[-1].seq] if is_cut or len(metrics) == PAGE_ROWS else []
            ends += [jobs[-1].seq] if has_more_jobs else []
            last = [*(job.seq for job in jobs[-1:]), *(row.seq for row in metrics[-1:])]
            end = min(ends) if ends else max([after, experiment.seq, *last])
            return Delta(
                next=end,
                state=experiment.state,
                experiment=experiment if not after or after < experiment.seq <= end else None,
                jobs=sorted((job for job in jobs if job.seq <= end), key=lambda job: (job.iter, job.index)),
                metrics=[row for row in metrics if row.seq <= end],
                is_all=not ends,
            )

        return await self._database.read(work)

    def _put_jobs(self, db: Connection, id: str, rows: Iterable[JobRow]) -> None:
        for row in rows:
            known = msgspec.structs.asdict(row)
            values = {**known, **_bounded_texts(known), "seq": next(self._seq), "id": id}
            db.execute(queries.PUT_JOB, values)
            # When the end of an attempt is recorded, nothing more of it is accepted: its positions are not needed.
            attempt = RunId(id, row.iter, row.index, row.attempt)
            kept = "" if row.state in ENDED else str(attempt)
            db.execute(queries.DROP_POSITIONS, {"job": attempt.job, "kept": kept})
        # The experiment's row contains the number of finished jobs, so it has changed too.
        db.execute("UPDATE experiments SET seq = ? WHERE id = ?", (next(self._seq), id))


def _bounded_texts(row: Mapping[str, Any]) -> dict[str, str]:
    """The error and the reason of a row, where it has them: whatever wrote them, rows fit into answers."""
    return {name: bounded(row[name], ROW_TEXT) for name in ("error", "reason") if name in row}


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[Store]:
    """Open the store in the file `path`, or create it. When the block ends, waiting calls are committed and it is
    closed.

    Only one process can have it open at a time. StoreError, here and from every method, names the file.
    """
    async with open_database(path, MIGRATIONS) as database:
        yield Store(database, await database.read(queries.last_seq))


def recover_store(path: Path) -> Salvage:
    """Make a new store of what can be read of the damaged one in `path`, which is kept. No process may have it open."""
    return recover(path, MIGRATIONS, KEYS, ORPHANS)
