"""The details of an experiment in pages: one of 10,000 jobs, or with large outputs, does not fit into one answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from sandbox_actors.protocol.rows import EnvRow, ExperimentDetail, Iteration, JobRow
from sandbox_actors.store import queries
from sandbox_actors.store.queries import JOB, PAGE_BYTES, Connection, Outputs

JOBS = f"""
    SELECT {JOB}, outputs FROM jobs LEFT JOIN outputs USING (experiment, iter, "index")
    WHERE experiment = ? ORDER BY iter, "index" LIMIT -1 OFFSET ?"""

encode = msgspec.msgpack.Encoder().encode


def detail_page(db: Connection, id: str, after: int) -> ExperimentDetail:
    """The parts of an experiment from number `after` on: its jobs, each with its outputs, then its envs.

    Their number is limited by `PAGE_BYTES`, but there is at least one; the definition comes with the first page.
    """
    page = ExperimentDetail(
        experiment=queries.experiment_row(db, id),
        iterations=[],
        jobs=[],
        definition=None if after else queries.submission(db, id).definition,
        envs=[],
    )
    infos: dict[int, dict[str, list[dict[str, Any]]]] = {}
    taken = size = 0
    for part, entry, part_size in _parts(db, id, after):
        size += part_size
        if size > PAGE_BYTES and taken:
            return _finished(page, infos, after + taken)
        taken += 1
        if isinstance(part, EnvRow):
            page.envs.append(part)
            continue
        page.jobs.append(part)
        entries = infos.setdefault(part.iter, {}).setdefault(part.pipeline, [])
        if entry is not None:
            entries.append(entry)
    return _finished(page, infos, None)


def _finished(
    page: ExperimentDetail, infos: dict[int, dict[str, list[dict[str, Any]]]], next: int | None
) -> ExperimentDetail:
    iterations = [Iteration(iter=iter, context_infos=each) for iter, each in infos.items()]
    return msgspec.structs.replace(page, iterations=iterations, next=next)


def _parts(db: Connection, id: str, after: int) -> Iterator[tuple[JobRow | EnvRow, dict[str, Any] | None, int]]:
    """Jobs with their entries, then envs, from number `after` on, each with its size in bytes."""
    columns = JobRow.__struct_fields__
    for *values, encoded in db.execute(JOBS, (id, after)):
        row = msgspec.convert(dict(zip(columns, values, strict=True)), JobRow, strict=False)
        entry = None if encoded is None else _fitting(msgspec.msgpack.decode(encoded, type=Outputs).entry)
        yield row, entry, queries.size_of(row) + (0 if entry is None else len(encode(entry)))
    (jobs,) = db.execute("SELECT count(*) FROM jobs WHERE experiment = ?", (id,)).fetchone()
    for env in queries.env_rows(db, id)[max(0, after - jobs) :]:
        yield env, None, len(encode(env))


def _fitting(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of `context_infos` with those outputs that fit into a page, and a note in place of each other one."""
    room, shown = PAGE_BYTES, {}
    for name, value in entry.items():
        size = len(encode(value))
        if size <= room:
            shown[name], room = value, room - size
        else:
            shown[name] = f"({size:,} bytes, too large to be shown: see context_infos.json)"
    return shown
