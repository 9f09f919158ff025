"""Recovery: the backup beside the store, what is saved of a damaged one, and stores of earlier versions."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sandbox_actors.errors import StoreError
from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.protocol.rows import Point
from sandbox_actors.store import writer_thread
from sandbox_actors.store.backup import backup_path
from sandbox_actors.store.database import open_database
from sandbox_actors.store.store import Position, Store, recover_store
from tests.sandbox_actors.store.storing import add, job, nothing, outputs, with_store

POINTS = 3000


async def fill(store: Store) -> None:
    for number in range(20):
        id = (await add(store, f"experiment{number}", jobs=2)).id
        await store.finish_job(id, job(0, "succeeded"), outputs(0, number))
    points = [Point(name="loss", value=0.5, step=step) for step in range(POINTS)]
    await store.add_points(JobPlace("3"), points, Position("3.1.1.1", "log", 77))


def damage(path: Path, place: int, size: int = 300) -> None:
    data = bytearray(path.read_bytes())
    data[place : place + size] = b"\xa5" * size
    path.write_bytes(data)


def pages_of(path: Path, table: str) -> list[int]:
    with closing(sqlite3.connect(path)) as file:
        query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno"
        return [(number - 1) * 4096 for (number,) in file.execute(query, (table,))]


def make_backup(path: Path) -> None:
    """Opening a store that has no backup makes one."""
    with_store(path, nothing)
    assert backup_path(path).exists()


def test_only_the_rows_of_a_damaged_page_are_lost(path: Path) -> None:
    with_store(path, fill)
    damage(path, pages_of(path, "metrics")[5])
    done = recover_store(path)
    assert done.kept.name.startswith("state.sqlite3.damaged-2")
    assert done.from_backup == dict.fromkeys(done.saved, 0)
    assert POINTS * 0.9 < done.saved["metrics"] < POINTS

    async def read(store: Store) -> None:
        assert len(await store.list_experiments()) == 20
        assert (await store.history("7"))[0].values == [6]
        assert await store.position("3.1.1.1", "log") == 77
        steps = [row.step for row in await store.metrics("3")]
        assert steps == sorted(steps)
        assert (await add(store)).id == "21"

    with_store(path, read)


def test_rows_that_cannot_be_read_are_taken_from_the_backup(path: Path) -> None:
    with_store(path, fill)
    make_backup(path)

    async def more(store: Store) -> None:
        await add(store, "after the backup")

    with_store(path, more)
    for page in pages_of(path, "metrics"):
        damage(path, page)
    done = recover_store(path)
    assert done.saved["experiments"] == 21
    assert (done.saved["metrics"], done.from_backup["metrics"]) == (0, POINTS)

    async def read(store: Store) -> None:
        assert (await store.find_experiment("@")).name == "after the backup"
        assert len(await store.metrics("3")) == POINTS

    with_store(path, read)


def test_a_file_of_garbage_is_replaced_by_the_backup(path: Path) -> None:
    with_store(path, fill)
    make_backup(path)
    damage(path, 0, path.stat().st_size)
    with pytest.raises(StoreError, match=r"damaged .*; `sandbox daemon recover` saves what can be read"):
        with_store(path, nothing)
    done = recover_store(path)
    assert done.from_backup["experiments"] == 20
    assert set(done.kept.read_bytes()) == {0xA5}


def test_without_a_file_there_is_nothing_to_recover(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file, so there is nothing to recover"):
        recover_store(path)


def test_a_backup_is_made_while_the_store_is_in_use(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_thread, "BACKUP_SECONDS", 0.0)  # all the time

    async def act(store: Store) -> None:
        for step in range(200):
            points = [Point(name="loss", value=0.5, step=step)] * 20
            await store.add_points(JobPlace("3"), points)

    with_store(path, fill)
    with_store(path, act)
    with closing(sqlite3.connect(backup_path(path))) as backup:
        (count,) = backup.execute("SELECT count(*) FROM metrics").fetchone()
        assert POINTS < count <= POINTS + 200 * 20
        assert backup.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert backup_path(path).stat().st_mode & 0o777 == 0o600

    async def read(store: Store) -> None:
        assert len(await store.metrics("3", "loss")) == POINTS + 200 * 20

    with_store(path, read)


def test_a_damaged_store_does_not_replace_its_good_backup(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with_store(path, fill)
    make_backup(path)
    good = backup_path(path).read_bytes()
    damage(path, pages_of(path, "metrics")[5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer_thread, "BACKUP_SECONDS", 0.0)
        with_store(path, nothing)
    assert backup_path(path).read_bytes() == good
    assert "`sandbox daemon recover`" in caplog.text


async def test_a_store_of_an_earlier_version_is_migrated_and_a_copy_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    first = "CREATE TABLE numbers (number INTEGER)"
    second = "ALTER TABLE numbers ADD COLUMN name TEXT NOT NULL DEFAULT 'none'; CREATE INDEX by_name ON numbers (name)"
    async with open_database(path, [first]) as database:
        await database.write(lambda db: db.execute("INSERT INTO numbers VALUES (1)") and None)
    async with open_database(path, [first, second]) as database:
        assert await database.read(lambda db: db.execute("SELECT * FROM numbers").fetchall()) == [(1, "none")]
    with closing(sqlite3.connect(tmp_path / "file.version-1")) as copy:
        assert copy.execute("SELECT * FROM numbers").fetchall() == [(1,)]
    with pytest.raises(StoreError, match="its schema has version 2, and this program supports up to version 1; use"):
        async with open_database(path, [first]):
            raise AssertionError("opened what it does not know")


async def test_a_migration_that_fails_does_not_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    first = "CREATE TABLE numbers (number INTEGER)"
    async with open_database(path, [first]) as database:
        await database.write(lambda db: db.execute("INSERT INTO numbers VALUES (1)") and None)
    with pytest.raises(StoreError, match="no such table"):
        async with open_database(path, [first, "DROP TABLE numbers; DROP TABLE letters"]):
            raise AssertionError("opened what could not be migrated")
    async with open_database(path, [first]) as database:
        assert await database.read(lambda db: db.execute("SELECT * FROM numbers").fetchall()) == [(1,)]
