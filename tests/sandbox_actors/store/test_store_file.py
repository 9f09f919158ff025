"""The store's file: what is committed, who may open it, and what is refused."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from sandbox_actors.errors import StoreError
from sandbox_actors.experiment.job_place import JobPlace
from sandbox_actors.protocol.rows import Point
from sandbox_actors.store.schema import MIGRATIONS
from sandbox_actors.store.store import Store, open_store
from tests.sandbox_actors.store.storing import add, nothing, with_store


def test_a_failing_write_does_not_roll_back_others_of_its_batch(path: Path) -> None:
    async def act(store: Store) -> None:
        await add(store)
        failures: list[StoreError] = []

        async def fail() -> None:
            points = [Point(name="a", value=1), Point(name="b", value=1, step=2**64 - 1)]
            try:
                await store.add_points(JobPlace("1"), points)
            except StoreError as error:
                failures.append(error)

        async def succeed() -> None:
            await store.add_points(JobPlace("1"), [Point(name="c", value=1)])

        async with trio.open_nursery() as nursery:
            for work in (succeed, fail, succeed, fail):
                nursery.start_soon(work)
        assert [str(path) in str(error) for error in failures] == [True, True]
        assert [row.name for row in await store.metrics("1")] == ["c", "c"]

    with_store(path, act)


def test_waiting_calls_are_committed_before_the_store_closes(path: Path) -> None:
    async def main() -> None:
        async with open_store(path) as store, trio.open_nursery() as nursery:
            nursery.start_soon(add, store)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        with pytest.raises(StoreError, match="closed"):
            await store.list_experiments()

    async def read(store: Store) -> None:
        assert len(await store.list_experiments()) == 1

    trio.run(main)
    with_store(path, read)


WRITER = """
import sys, trio
from pathlib import Path
from sandbox_actors.protocol.client_requests import Submit
from sandbox_actors.store.store import open_store

async def main():
    submit = Submit(definition={}, source="", cwd="")
    async with open_store(Path(sys.argv[1])) as store:
        while True:
            row, _ = await store.add_experiment(submit, name="n", project="", work_dir="", submitted=0.0)
            print(row.id, flush=True)

trio.run(main)
"""


@pytest.mark.real
def test_writes_that_were_acknowledged_outlive_a_killed_process(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]

    async def read(store: Store) -> None:
        ids = [row.id for row in await store.list_experiments()]
        assert set(acknowledged) <= set(ids)
        assert len(ids) - len(acknowledged) <= 1
        assert (await add(store)).seq > 20

    with_store(path, read)


def test_a_second_process_is_refused_while_one_has_the_store_open(path: Path) -> None:
    async def act(store: Store) -> None:
        with pytest.raises(StoreError, match="another process has this store open"):
            async with open_store(path):
                raise AssertionError("opened twice")

    with_store(path, act)


def test_a_file_that_is_not_a_database_is_named_and_unchanged(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but longer than one header of it is\n" * 40)
    with pytest.raises(StoreError, match=r"state\.sqlite3: the file is damaged"):
        with_store(path, nothing)
    assert path.read_bytes().startswith(b"not a database")


def test_damage_inside_the_file_is_an_error_that_names_it(path: Path) -> None:
    async def write(store: Store) -> None:
        for _ in range(50):
            await add(store, name="n" * 500)

    with_store(path, write)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"state\.sqlite3: the file is damaged"):
        with_store(path, lambda store: store.list_experiments())


def test_a_file_of_another_schema_version_is_refused_with_both_versions(path: Path) -> None:
    with_store(path, nothing)
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 7")
    other.close()
    expected = rf"state\.sqlite3: its schema has version 7, and this program supports up to version {len(MIGRATIONS)}"
    with pytest.raises(StoreError, match=expected):
        with_store(path, nothing)


def test_a_folder_that_cannot_be_created_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"state\.sqlite3"):
        with_store(tmp_path / "file" / "state.sqlite3", nothing)


def test_only_its_owner_can_read_the_store(path: Path) -> None:
    with_store(path, nothing)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
