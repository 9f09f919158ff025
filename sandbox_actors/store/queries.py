"""The queries of the store. All of them run in the writer thread, on the connection that they are given."""

from __future__ import annotations

import difflib
import heapq
import math
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from sandbox_actors.errors import NotFound
from sandbox_actors.protocol.client_requests import Submit
from sandbox_actors.protocol.rows import EnvRecord, EnvRow, ExperimentRow, JobRow, MetricRow
from sandbox_actors.protocol.texts import bounded_line

PAGE_ROWS = 5_000
PAGE_BYTES = 3 * 1024 * 1024
"""The most rows of one kind, and bytes in them, in one answer; the rest follows in the next one."""

ROW_BYTES = 300
"""Of a row without its texts, at most."""

SHORT_TEXT = 200
"""Characters of an error or a reason in a list of experiments."""

SUGGESTIONS = 3

CFGS = "cfgs"
"""First part of the names under which configs are recorded. Among metrics they are listed only by name."""

Connection = sqlite3.Connection
S = TypeVar("S", bound=msgspec.Struct)
Row = TypeVar("Row", MetricRow, JobRow, ExperimentRow)

JOB = ", ".join(f'"{name}"' for name in JobRow.__struct_fields__)
PUT_JOB = (
    f"INSERT INTO jobs (experiment, {JOB}) VALUES (:id, {', '.join(f':{name}' for name in JobRow.__struct_fields__)}) "
    'ON CONFLICT (experiment, iter, "index") DO UPDATE SET '
    + ", ".join(f'"{name}" = excluded."{name}"' for name in JobRow.__struct_fields__)
)
ADD_POINT = """
    INSERT INTO metrics (seq, experiment, pipeline, job, iter, name, value, step, time)
    VALUES (:seq, :id, :pipeline, :job, :iter, :name, :value, :step, :time)"""
ADD_POINTS = """
    INSERT INTO metrics (seq, experiment, pipeline, job, iter, name, value, step, time)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
POSITION = "SELECT position FROM cursors WHERE run = ? AND source = ?"
PUT_POSITION = "INSERT OR REPLACE INTO cursors (run, source, position) VALUES (?, ?, ?)"
DROP_POSITIONS = """
    DELETE FROM cursors WHERE run > :job || '.' AND run < :job || '/' AND NOT (run = :kept OR run GLOB :kept || '.*')"""
"""Of all runs of a job (`<experiment>.<iter>.<index>`) but those of the attempt `:kept`. `/` comes after `.`: unlike
GLOB with a value, this is a range of the index."""

PUT_ENV = "INSERT INTO envs (digest, record) VALUES (?, ?) ON CONFLICT DO NOTHING"
PUT_JOB_ENV = "INSERT OR IGNORE INTO job_envs SELECT ?, ?, ?, id FROM envs WHERE digest = ?"
DROP_JOB_ENVS = 'DELETE FROM job_envs WHERE experiment = ? AND iter = ? AND "index" = ?'
COPY_JOB_ENVS = """
    INSERT OR IGNORE INTO job_envs
    SELECT ?, ?, ?, env FROM job_envs WHERE experiment = ? AND iter = ? AND "index" = ?"""
ENVS = """
    SELECT digest, record, pipeline || '.' || meta_name
    FROM job_envs JOIN envs ON envs.id = env JOIN jobs USING (experiment, iter, "index")
    WHERE experiment = ? ORDER BY iter, "index", env"""

METRICS = "SELECT seq, name, value, step, time, pipeline, job, iter FROM metrics WHERE experiment = :id"
RESULTS = f"{METRICS} AND pipeline = :pipeline AND job = :job AND iter = :iter AND step IS NULL ORDER BY seq"
LAST_STARTED_IN = """
    SELECT CAST(id AS TEXT) FROM experiments
    WHERE work_dir = ? AND id != ? AND started IS NOT NULL ORDER BY started DESC LIMIT 1"""
EXPERIMENT = """
    SELECT CAST(id AS TEXT) AS id, seq, name, project, state, source, cwd, work_dir, submitted, started, finished,
        error, reason,
        (SELECT count(*) FROM jobs j WHERE j.experiment = e.id) AS jobs_total,
        (SELECT count(*) FROM jobs j WHERE j.experiment = e.id AND j.state = 'succeeded') AS jobs_done
    FROM experiments e"""
METRICS_AFTER = f"{METRICS} AND seq > :after AND name NOT GLOB '{CFGS}.*' ORDER BY seq"
PLACES = """
    WITH RECURSIVE places (pipeline, job) AS (
        SELECT * FROM (SELECT pipeline, job FROM metrics WHERE experiment = :id ORDER BY pipeline, job LIMIT 1)
        UNION ALL
        SELECT m.pipeline, m.job FROM places p JOIN metrics m ON m.seq = coalesce(
            (SELECT seq FROM metrics WHERE experiment = :id AND pipeline = p.pipeline AND job > p.job
             ORDER BY job LIMIT 1),
            (SELECT seq FROM metrics WHERE experiment = :id AND pipeline > p.pipeline ORDER BY pipeline, job LIMIT 1)))
    SELECT pipeline, job FROM places"""
"""The pipelines and meta_names that have metrics: one look-up in an index each, however many metrics they have."""

SERIES = f"{METRICS} AND pipeline = :pipeline AND job = :job AND name = :name"
HAS_SERIES = (
    "SELECT 1 FROM metrics WHERE experiment = :id AND pipeline = :pipeline AND job = :job AND name = :name LIMIT 1"
)


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """What one job returned. `entry` is the job's mapping in `context_infos`: its `meta_name` and named outputs."""

    iter: int
    index: int
    values: list[Any]
    is_tuple: bool
    entry: dict[str, Any]


def last_seq(db: Connection) -> int:
    query = "SELECT max(seq) FROM experiments UNION SELECT max(seq) FROM jobs UNION SELECT max(seq) FROM metrics"
    return max(seq or 0 for (seq,) in db.execute(query))


def rows_of(db: Connection, kind: type[S], query: str, values: Any = ()) -> list[S]:
    cursor = db.execute(query, values)
    columns = [column for column, *_ in cursor.description]
    return [msgspec.convert(dict(zip(columns, row, strict=True)), kind, strict=False) for row in cursor]


def experiment_row(db: Connection, id: str) -> ExperimentRow:
    found = rows_of(db, ExperimentRow, f"{EXPERIMENT} WHERE e.id = ?", (id,))
    if not found:
        raise NotFound(f"no experiment has the id {id}; `sandbox ls` lists them")
    return found[0]


def drop_experiment(db: Connection, id: str) -> None:
    """Remove an experiment that has not started."""
    for table in ("jobs", "submissions"):
        db.execute(f"DELETE FROM {table} WHERE experiment = ?", (id,))
    db.execute("DELETE FROM experiments WHERE id = ?", (id,))


def listed_experiments(db: Connection, limit: int, before: str) -> list[ExperimentRow]:
    """Newest first, from the one before the id `before` on. Errors and reasons are one line each."""
    query = f"{EXPERIMENT} WHERE :before = '' OR e.id < CAST(:before AS INTEGER) ORDER BY e.id DESC LIMIT :limit"
    rows = rows_of(db, ExperimentRow, query, {"before": before, "limit": min(limit, PAGE_ROWS)})
    return take_bounded(_shortened(row) for row in rows)[0]


def _shortened(row: ExperimentRow) -> ExperimentRow:
    error, reason = bounded_line(row.error, SHORT_TEXT), bounded_line(row.reason, SHORT_TEXT)
    return msgspec.structs.replace(row, error=error, reason=reason)


def find_experiment(db: Connection, wanted: str) -> ExperimentRow:
    if place := re.fullmatch(r"@(?:~([0-9]{1,9}))?", wanted):
        clause, value = "ORDER BY e.id DESC LIMIT 1 OFFSET ?", int(place[1] or 0)
        found = rows_of(db, ExperimentRow, f"{EXPERIMENT} {clause}", (value,))
    else:
        clause = "WHERE e.id = :wanted OR name = :wanted ORDER BY e.id = :wanted DESC, e.id DESC LIMIT 1"
        found = rows_of(db, ExperimentRow, f"{EXPERIMENT} {clause}", {"wanted": wanted})
    if found:
        return found[0]
    known = [
        str(each) for row in db.execute("SELECT name, id FROM experiments ORDER BY id DESC LIMIT 1000") for each in row
    ]
    if not known:
        raise NotFound("there is no experiment yet; `sandbox run FILE` starts one")
    raise NotFound(f"no experiment is called {wanted!r}{_nearest(wanted, known)} `sandbox ls` lists them")


def submitted_as(db: Connection, key: str) -> str | None:
    """The experiment that a submission with this key has made."""
    found = db.execute("SELECT CAST(experiment AS TEXT) FROM submissions WHERE key = ?", (key,)).fetchone()
    return found[0] if found else None


def submission(db: Connection, id: str) -> Submit:
    (encoded,) = db.execute("SELECT submit FROM submissions WHERE experiment = ?", (id,)).fetchone()
    return msgspec.msgpack.decode(encoded, type=Submit)


def job_rows(db: Connection, id: str) -> list[JobRow]:
    query = f'SELECT {JOB} FROM jobs WHERE experiment = ? ORDER BY iter, "index"'
    return rows_of(db, JobRow, query, (id,))


def changed_job_rows(db: Connection, id: str, after: int) -> tuple[list[JobRow], bool]:
    """The first job rows that were written after sequence number `after`, and whether others were left out."""
    query = f"SELECT {JOB} FROM jobs WHERE experiment = ? AND seq > ? ORDER BY seq LIMIT ?"
    rows = rows_of(db, JobRow, query, (id, after, PAGE_ROWS))
    taken, is_cut = take_bounded(rows)
    return taken, is_cut or len(rows) == PAGE_ROWS


def outputs(db: Connection, id: str) -> list[Outputs]:
    query = 'SELECT outputs FROM outputs WHERE experiment = ? ORDER BY iter, "index"'
    return [msgspec.msgpack.decode(encoded, type=Outputs) for (encoded,) in db.execute(query, (id,))]


def env_rows(db: Connection, id: str) -> list[EnvRow]:
    """The envs that the jobs of an experiment ran in, each once."""
    rows: dict[str, EnvRow] = {}
    for digest, record, job in db.execute(ENVS, (id,)):
        if digest not in rows:
            rows[digest] = EnvRow(digest=digest, record=msgspec.msgpack.decode(record, type=EnvRecord), jobs=[])
        if job not in rows[digest].jobs:
            rows[digest].jobs.append(job)
    return list(rows.values())


def find_job(db: Connection, id: str, wanted: str) -> JobRow:
    query = f"""
        SELECT {JOB} FROM jobs
        WHERE experiment = :id AND :wanted IN ('', meta_name, pipeline || '.' || meta_name)
        ORDER BY started IS NULL, started DESC, iter, "index" LIMIT 1"""
    found = rows_of(db, JobRow, query, {"id": id, "wanted": wanted})
    if found:
        return found[0]
    known = list(
        dict.fromkeys(name for job in job_rows(db, id) for name in (job.meta_name, f"{job.pipeline}.{job.meta_name}"))
    )
    if not known:
        raise NotFound(f"experiment {id} has no job")
    raise NotFound(f"experiment {id} has no job {wanted!r}{_nearest(wanted, known)} `sandbox show {id}` lists them")


def _nearest(wanted: str, known: Sequence[str]) -> str:
    """The suggestion that ends the first part of a message saying that `wanted` is not known."""
    close = difflib.get_close_matches(wanted, dict.fromkeys(known), n=SUGGESTIONS, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(each) for each in close)}?" if close else ";"


def position(db: Connection, run: str, source: str) -> int:
    found = db.execute(POSITION, (run, source)).fetchone()
    return found[0] if found else 0


def metric_rows(db: Connection, query: str, values: Any) -> Iterator[MetricRow]:
    for seq, name, value, step, time, pipeline, job, iter in db.execute(query, values):
        yield MetricRow(
            seq=seq, name=name, value=_decode_value(value), step=step, time=time, pipeline=pipeline, job=job, iter=iter
        )


def metrics_named(
    db: Connection, id: str, wanted: str, after: int = 0, is_newest_first: bool = False
) -> Iterator[MetricRow]:
    """The metrics that `wanted` selects, after sequence number `after`, read one by one from an index.

    `wanted` is the name of a metric, alone or after its job, its pipeline, or both. Results are named after their job
    (`evaluate.perplexity`): the rest of the name selects them too, unless there is a metric of just that name.
    """
    order = "DESC" if is_newest_first else "ASC"
    query = f"{SERIES} AND seq > :after ORDER BY seq {order}"
    found = [{**series, "after": after} for series in series_named(db, id, wanted)]
    return heapq.merge(
        *(metric_rows(db, query, series) for series in found), key=lambda row: row.seq, reverse=is_newest_first
    )


def series_named(db: Connection, id: str, wanted: str) -> list[dict[str, str]]:
    """The series that `wanted` selects (see `metrics_named`), as values for `SERIES`."""
    exact, of_result = list[dict[str, str]](), list[dict[str, str]]()
    for pipeline, job in db.execute(PLACES, {"id": id}).fetchall():
        place = {"id": id, "pipeline": pipeline, "job": job}
        prefixes = ("", f"{job}.", f"{pipeline}.", f"{pipeline}.{job}.")
        names = {wanted.removeprefix(prefix) for prefix in prefixes if wanted.startswith(prefix)}
        exact += ({**place, "name": name} for name in sorted(names))
        of_result.append({**place, "name": f"{job}.{wanted}"})
    found = [series for series in exact if db.execute(HAS_SERIES, series).fetchone()]
    if any(series["name"] == wanted for series in found):
        return found
    return found + [series for series in of_result if db.execute(HAS_SERIES, series).fetchone()]


def metrics_of(db: Connection, id: str, jobs: Sequence[JobRow]) -> Iterator[dict[str, Any]]:
    """The metrics of these jobs in commit order, for `ADD_POINT`. Jobs of one name are distinguished by time."""
    runs: dict[tuple[str, str, int], list[JobRow]] = {}
    for job in jobs:
        runs.setdefault((job.pipeline, job.meta_name, job.iter), []).append(job)
    names = ("pipeline", "job", "iter", "name", "value", "step", "time")
    query = f"SELECT {', '.join(names)} FROM metrics WHERE experiment = ? AND job != '' ORDER BY seq"
    for values in db.execute(query, (id,)).fetchall():
        row = dict(zip(names, values, strict=True))
        alike = runs.get((row["pipeline"], row["job"], row["iter"]), ())
        if any((job.started or 0.0) <= row["time"] <= (job.finished or math.inf) for job in alike):
            yield row


def take_bounded(rows: Iterable[Row]) -> tuple[list[Row], bool]:
    """The first rows, at least one, up to `PAGE_BYTES` of them, and whether others were left out."""
    taken: list[Row] = []
    size = 0
    for row in rows:
        size += size_of(row)
        if size > PAGE_BYTES and taken:
            return taken, True
        taken.append(row)
    return taken, False


def size_of(row: msgspec.Struct) -> int:
    """Bytes of an encoded row, at most: cheaper than encoding it."""
    texts = [value for value in msgspec.structs.astuple(row) if isinstance(value, str)]
    return ROW_BYTES + sum(len(text) if text.isascii() else len(text.encode()) for text in texts)


def encode_value(value: Any) -> Any:
    """SQLite would turn a bool into an integer, and NaN into NULL, and refuses an integer of more than 63 bits and a
    sign: these, and nothing else, are stored as msgpack blobs."""
    is_large = isinstance(value, int) and not -(2**63) <= value < 2**63
    if is_large or isinstance(value, bool) or (isinstance(value, float) and math.isnan(value)):
        return msgspec.msgpack.encode(value)
    return value


def _decode_value(value: Any) -> Any:
    return msgspec.msgpack.decode(value) if isinstance(value, bytes) else value
