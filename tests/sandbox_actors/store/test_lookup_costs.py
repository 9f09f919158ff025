"""A look-up reads what it finds, not everything that is stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sandbox_actors.errors import NotFound
from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.protocol.rows import Point
from sandbox_actors.store import queries
from sandbox_actors.store.connect import connect
from sandbox_actors.store.schema import MIGRATIONS
from sandbox_actors.store.store import Store
from tests.sandbox_actors.store.storing import add, job, with_store

EXPERIMENTS, POINTS = 5_000, 20_000
STEP = 100
"""Instructions of SQLite's virtual machine between two counts. Reading a row takes about ten."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A store of many experiments, the first of which has many metrics, of ten jobs and one that is rare."""
    with closing(connect(tmp_path_factory.mktemp("large") / "state.sqlite3", MIGRATIONS)) as db, db:
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO experiments (seq, name, project, state, source, cwd, work_dir, submitted, started) "
            "VALUES (?, ?, 'p', 'succeeded', 's', '/', ?, 0, 1)",
            ((number, f"experiment{number}", f"/data/{number}") for number in range(EXPERIMENTS)),
        )
        metrics = ((number, 1, "p", f"job{number % 10}", 1, "loss", 0.5, number, 0.0) for number in range(POINTS))
        db.executemany(queries.ADD_POINTS, metrics)
        db.execute(queries.ADD_POINTS, (POINTS, 1, "p", "evaluate", 1, "evaluate.score", 1.0, None, 0.0))
        db.execute("COMMIT")
        yield db


def named(db: sqlite3.Connection, wanted: str, is_newest_first: bool = False) -> list[Any]:
    return list(islice(queries.metrics_named(db, "1", wanted, is_newest_first=is_newest_first), 10))


RESULTS_OF = {"id": "1", "pipeline": "p", "job": "evaluate", "iter": 1}

LOOK_UPS: dict[str, tuple[Callable[[sqlite3.Connection], Any], int]] = {
    "a metric that is not there": (lambda db: named(db, "missing"), 0),
    "the newest of one that is not there": (lambda db: named(db, "job3.missing", is_newest_first=True), 0),
    "a metric of all jobs": (lambda db: named(db, "loss"), 10),
    "a metric of one job": (lambda db: named(db, "p.job3.loss"), 10),
    "the newest of one job": (lambda db: named(db, "job3.loss", is_newest_first=True), 10),
    "a result without its job": (lambda db: named(db, "score"), 1),
    "the results of a job": (lambda db: list(queries.metric_rows(db, queries.RESULTS, RESULTS_OF)), 1),
    "an experiment by name": (lambda db: [queries.find_experiment(db, "experiment7")], 1),
    "the last one in a work_dir": (lambda db: db.execute(queries.LAST_STARTED_IN, ("/data/7", "1")).fetchall(), 1),
}


@pytest.mark.parametrize("what", LOOK_UPS)
def test_a_look_up_reads_no_more_than_it_finds(large: sqlite3.Connection, what: str) -> None:
    look_up, expected = LOOK_UPS[what]
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += STEP

    large.set_progress_handler(count, STEP)
    found = look_up(large)
    large.set_progress_handler(None, 0)
    assert len(found) == expected
    assert steps < 5_000


def test_names_like_one_that_is_unknown_are_looked_for_among_the_newest_only(large: sqlite3.Connection) -> None:
    with pytest.raises(NotFound, match=f"did you mean 'experiment{EXPERIMENTS - 1}'"):
        queries.find_experiment(large, f"experimemt{EXPERIMENTS - 1}")


def test_a_store_of_version_2_is_searched_by_the_same_indexes(path: Path) -> None:
    with closing(connect(path, MIGRATIONS[:2])) as db:
        db.execute("INSERT INTO experiments VALUES (1, 1, 'old', 'p', 'succeeded', '', '', '', 0, 1, 2, '', '')")
        db.execute("INSERT INTO submissions VALUES (1, x'80')")
        db.execute(queries.ADD_POINTS, (2, 1, "p", "job0", 1, "loss", 0.5, 1, 0.0))

    async def act(store: Store) -> None:
        assert [row.value for row in await store.metrics("1", "job0.loss")] == [0.5]
        assert (await store.find_experiment("old")).id == "1"
        new = await add(store, jobs=1)
        await store.put_jobs(new.id, [job(0, "running")])
        await store.add_points(JobPlace(new.id, "p", "job0"), [Point(name="loss", value=2, step=1)])
        assert [row.value for row in await store.metrics(new.id, "loss")] == [2]

    with_store(path, act)
    assert path.with_name(f"{path.name}.version-2").exists()
