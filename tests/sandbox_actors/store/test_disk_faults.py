"""A disk that is full or fails: calls wait and nothing is lost, prompt calls are refused, and nothing is done twice."""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from sandbox_actors.errors import StoreError
from sandbox_actors.store import database as database_module
from sandbox_actors.store.database import Database, open_database

SCRIPT = "CREATE TABLE numbers (number INTEGER, filling TEXT)"


async def add(database: Database, number: int, size: int = 0) -> None:
    await database.write(lambda db: db.execute("INSERT INTO numbers VALUES (?, ?)", (number, "x" * size)) and None)


async def numbers(database: Database) -> list[int]:
    return await database.read(lambda db: [number for (number,) in db.execute("SELECT number FROM numbers")])


async def until_in_trouble(database: Database, text: str) -> None:
    await until(lambda: text in database.trouble)


async def until(holds: Callable[[], bool]) -> None:
    while True:
        if holds():
            return
        await trio.sleep(0.01)


async def set_pages(database: Database, extra: int) -> None:
    """Limit the file to so many more pages. Then SQLite raises SQLITE_FULL, as on a full disk."""

    def limit(db: sqlite3.Connection) -> None:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count={pages + extra}")

    with database.promptly():
        await database.read(limit)


async def test_on_a_full_disk_calls_wait_and_are_committed_once_in_order(tmp_path: Path) -> None:
    async with open_database(tmp_path / "file", [SCRIPT]) as database:
        await add(database, 0)
        await set_pages(database, 0)
        async with trio.open_nursery() as nursery:
            for number in (1, 2, 3):
                nursery.start_soon(add, database, number, 50_000)
                await trio.testing.wait_all_tasks_blocked()
            await until_in_trouble(database, "its disk is full")
            with database.promptly():
                assert await numbers(database) == [0], "what is stored can be read"
                with pytest.raises(StoreError, match=r"file: its disk is full \(.* free\); free some space"):
                    await add(database, 9)
            await set_pages(database, 1000)
        assert await numbers(database) == [0, 1, 2, 3]
        assert database.trouble == ""


async def test_a_disk_that_fails_is_tried_again_on_a_new_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with open_database(tmp_path / "file", [SCRIPT]) as database, trio.open_nursery() as nursery:
        await add(database, 0)
        first = await database.read(id)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # writes beyond it fail with EFBIG
        try:
            for number in (1, 2):
                nursery.start_soon(add, database, number, 50_000)
            await until_in_trouble(database, "its disk fails")
            with database.promptly(), pytest.raises(StoreError, match="its disk fails"):
                await add(database, 9)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await until(lambda: not database.trouble)
        assert sorted(await numbers(database)) == [0, 1, 2]
        assert await database.read(id) != first
    assert "the store is paused: " in caplog.text
    assert "all waiting calls have been committed" in caplog.text


async def test_calls_that_wait_when_a_paused_database_is_closed_are_refused(tmp_path: Path) -> None:
    failures = []

    async def fail(database: Database) -> None:
        try:
            await add(database, 1, 50_000)
        except StoreError as error:
            failures.append(str(error))

    async with trio.open_nursery() as nursery, open_database(tmp_path / "file", [SCRIPT]) as database:
        await add(database, 0)
        await set_pages(database, 0)
        nursery.start_soon(fail, database)
        await until_in_trouble(database, "its disk is full")
    assert failures == ["the store was closed before this could be written"]
    async with open_database(tmp_path / "file", [SCRIPT]) as database:
        assert await numbers(database) == [0]


async def test_prompt_calls_are_refused_when_a_disk_hangs_and_undone_if_they_take_place_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "SLOW_SECONDS", 0.2)
    gate, has_begun = threading.Event(), threading.Event()

    def hang(db: sqlite3.Connection) -> int:
        has_begun.set()
        gate.wait(30)
        db.execute("INSERT INTO numbers VALUES (1, '')")
        return 1

    async with open_database(tmp_path / "file", [SCRIPT]) as database:
        with database.promptly():
            undo = "DELETE FROM numbers WHERE number = ?"
            with pytest.raises(StoreError, match=r"its disk has not answered for more than 0\.2 seconds"):
                await database.write(hang, undo=lambda number: lambda db: db.execute(undo, (number,)) and None)
            assert has_begun.is_set()
            with pytest.raises(StoreError, match="has not answered"):
                await numbers(database)
            assert "has not answered" in database.trouble
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add, database, 2)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert await numbers(database) == [2]


async def test_a_file_that_disappears_is_reported_and_not_created_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with open_database(path, [SCRIPT]) as database, trio.open_nursery() as nursery:
        await add(database, 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            nursery.start_soon(add, database, 1, 50_000)
            await until_in_trouble(database, "its disk fails")
            for name in ("file", "file-wal"):
                (tmp_path / name).rename(tmp_path / f"moved-{name}")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await until_in_trouble(database, "the file is gone")
        for name in ("file", "file-wal"):
            (tmp_path / f"moved-{name}").rename(tmp_path / name)
        await until(lambda: not database.trouble)
        assert await numbers(database) == [0, 1]


async def test_an_error_in_work_does_not_pause_the_database(tmp_path: Path) -> None:
    async with open_database(tmp_path / "file", [SCRIPT]) as database:
        with pytest.raises(StoreError, match="no such table"):
            await database.write(lambda db: db.execute("INSERT INTO letters VALUES (1)"))
        assert database.trouble == ""
        await add(database, 1)
        assert await numbers(database) == [1]


async def test_damage_that_is_found_during_use_pauses_the_database_and_names_the_command(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with open_database(path, [SCRIPT]) as database:
        await database.write(lambda db: db.execute("CREATE TABLE letters (letter TEXT)") and None)
        for number in range(50):
            await add(database, number, 3000)
        await database.read(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        await database.read(lambda db: db.execute("PRAGMA shrink_memory").fetchall())
        data = path.read_bytes()
        damaged = data[:40_960] + b"\xa5" * 40_960 + data[81_920:]
        path.write_bytes(damaged)
        with database.promptly():
            with pytest.raises(StoreError, match=r"damaged .*; `sandbox daemon recover` saves what can be read"):
                await numbers(database)
            assert "`sandbox daemon recover`" in database.trouble
            await database.read(lambda db: db.execute("SELECT * FROM letters").fetchall())
            with pytest.raises(StoreError, match="damaged"):
                await database.write(lambda db: db.execute("INSERT INTO letters VALUES ('a')") and None)
        path.write_bytes(data)
        assert await numbers(database) == list(range(50))
