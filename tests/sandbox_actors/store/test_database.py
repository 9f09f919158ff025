"""The writer thread: it carries out every call, in order, before it ends."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from sandbox_actors.errors import StoreError
from sandbox_actors.store.database import Database, open_database

SCRIPT = "CREATE TABLE numbers (number INTEGER)"


async def add(database: Database, number: int) -> None:
    await database.write(lambda db: db.execute("INSERT INTO numbers VALUES (?)", (number,)))


async def numbers(database: Database) -> list[int]:
    return await database.read(lambda db: [number for (number,) in db.execute("SELECT number FROM numbers")])


async def hold_up(database: Database, nursery: trio.Nursery, gate: threading.Event) -> None:
    """Keep the thread busy until `gate` is set."""
    nursery.start_soon(database.read, lambda db: gate.wait(30))
    await trio.testing.wait_all_tasks_blocked()


async def test_calls_that_wait_when_the_database_is_closed_are_still_committed(tmp_path: Path) -> None:
    path, gate = tmp_path / "file", threading.Event()
    async with open_database(path, [SCRIPT]) as database, trio.open_nursery() as nursery:
        await hold_up(database, nursery, gate)
        nursery.start_soon(add, database, 1)
        nursery.start_soon(add, database, 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(database.close)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    async with open_database(path, [SCRIPT]) as database:
        assert sorted(await numbers(database)) == [1, 2]


async def test_a_read_sees_what_was_written_before_it_in_the_same_batch(tmp_path: Path) -> None:
    gate, seen = threading.Event(), []

    async def look(database: Database) -> None:
        seen.append(await numbers(database))

    async with open_database(tmp_path / "file", [SCRIPT]) as database, trio.open_nursery() as nursery:
        await hold_up(database, nursery, gate)
        nursery.start_soon(add, database, 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(look, database)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert seen == [[1]]


async def test_a_cancelled_call_does_not_delay_others(tmp_path: Path) -> None:
    gate = threading.Event()
    async with open_database(tmp_path / "file", [SCRIPT]) as database, trio.open_nursery() as nursery:
        await hold_up(database, nursery, gate)
        with trio.move_on_after(0) as scope:
            await add(database, 1)
        assert scope.cancelled_caught
        gate.set()
        await add(database, 2)
        assert await numbers(database) == [1, 2]


async def test_work_that_raises_is_rolled_back_and_raises_in_the_caller(tmp_path: Path) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO numbers VALUES (1)")
        raise LookupError("no")

    async with open_database(tmp_path / "file", [SCRIPT]) as database:
        with pytest.raises(LookupError):
            await database.write(half)
        with pytest.raises(StoreError, match="no such table: letters"):
            await database.write(lambda db: db.execute("INSERT INTO letters VALUES (1)"))
        await add(database, 2)
        assert await numbers(database) == [2]


async def test_in_a_program_that_ends_no_call_waits_for_a_disk_that_hangs_shielded_or_not(tmp_path: Path) -> None:
    gate, refused = threading.Event(), list[str]()

    async def add_shielded(number: int) -> None:
        with trio.CancelScope(shield=True):
            try:
                await add(database, number)
            except StoreError as error:
                refused.append(str(error))

    async with open_database(tmp_path / "file", [SCRIPT]) as database, trio.open_nursery() as nursery:
        nursery.start_soon(database.write, lambda db: gate.wait(30))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(add_shielded, 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        database.stop_waiting(0.01)
        nursery.start_soon(add_shielded, 2)
        while len(refused) < 2:
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked(0.01)
        gate.set()  # closing waits for it
    assert "its disk has not answered" in refused[0]
