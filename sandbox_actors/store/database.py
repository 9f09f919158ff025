"""A database for trio: one SQLite connection, owned by one thread (`writer_thread.py`).

The thread is the database's own: trio's worker threads may all be stuck in something else, and a commit must not
wait for them. The file is in WAL mode, which has a rare corruption bug when several connections write to it (SQLite
3.7.0 to 3.51.2); with exclusive locking, SQLite itself ensures that there is only one.

When the disk is full or fails, calls wait, in order, and are tried again until they succeed: hours of work are not lost
because its result cannot be written. Only calls made `promptly`, as those of clients are, raise StoreError instead,
and all calls when the program ends (`stop_waiting`).
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from sandbox_actors.errors import StoreError
from sandbox_actors.store.calls import Call, T, Work
from sandbox_actors.store.writer_thread import WriterThread

SLOW_SECONDS = 5.0
"""How long one operation of the disk may take before prompt calls are refused."""

CLOSE_SECONDS = 10.0


class Database:
    """Created by `open_database`. Calls are carried out in the order in which they were made.

    A call that is cancelled while it waits may still be carried out.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self.path = path
        self._ended = trio.Event()
        self._is_closed = False
        self._prompt_tasks: set[trio.lowlevel.Task] = set()
        self._given_up_at = math.inf
        self._waiting: set[trio.CancelScope] = set()
        self._token = trio.lowlevel.current_trio_token()
        self._writer = WriterThread(path, migrations, self._wake, self._ended.set)

    async def open(self) -> None:
        self._writer.start()
        await self._answer(self._writer.opened)

    async def close(self) -> None:
        """Commit the waiting calls, then close the file. Returns after `CLOSE_SECONDS` if the disk hangs."""
        self._is_closed = True
        self._writer.put(None)
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._ended.wait()

    def stop_waiting(self, seconds: float) -> None:
        """From now on no call waits longer than `seconds` for the disk: those that wait already, and later ones, raise
        StoreError then, and may still be carried out. For a program that ends."""
        self._given_up_at = trio.current_time() + seconds
        for scope in self._waiting:
            scope.deadline = min(scope.deadline, self._given_up_at)

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present, and what to do; empty if the disk works."""
        if self._writer.fault is not None:
            return self._writer.fault.text
        return self._slow_text() if self._is_slow() else ""

    @contextmanager
    def promptly(self) -> Iterator[None]:
        """In the block, calls of this task are answered or refused (StoreError), but do not wait for a disk."""
        task = trio.lowlevel.current_task()
        self._prompt_tasks.add(task)
        try:
            yield
        finally:
            self._prompt_tasks.discard(task)

    async def read(self, work: Work[T]) -> T:
        """The result of `work`, which sees everything that was written before this call. Runs in the writer thread.

        A prompt read may see less: it does not wait for the writes before it.
        """
        result: T = await self._ask(Call(work))
        return result

    async def write(self, work: Work[T], *, durable: bool = True, undo: Callable[[T], Work[object]] | None = None) -> T:
        """The result of `work`, once its changes are committed; if it raises, none of them is.

        Calls of many tasks share one commit. `durable` changes outlive a power cut; others outlive this process.
        `undo(result)` reverses work that took place after a prompt caller had been refused because the disk was slow.
        """
        result: T = await self._ask(Call(work, is_write=True, is_durable=durable, undo=undo))
        return result

    async def _ask(self, call: Call) -> Any:
        if self._is_closed or self._ended.is_set():
            raise StoreError(f"{self.path}: the store is closed")
        call.is_prompt = trio.lowlevel.current_task() in self._prompt_tasks
        self._writer.put(call)
        return await self._answer(call)

    async def _answer(self, call: Call) -> Any:
        while not call.done.is_set():
            await self._wait_for(call)
            if not call.done.is_set():
                if self._is_slow() and self._writer.withdraw(call):
                    raise StoreError(self._slow_text())
                if trio.current_time() >= self._given_up_at:
                    raise StoreError(self.trouble or f"{self.path}: its disk has not answered in time")
        if call.error is not None:
            raise call.error
        return call.result

    async def _wait_for(self, call: Call) -> None:
        """Wait for a while, or as long as it takes, for an answer."""
        looks_again = trio.current_time() + SLOW_SECONDS / 5 if call.is_prompt else math.inf
        with trio.CancelScope(deadline=min(looks_again, self._given_up_at)) as scope:
            self._waiting.add(scope)
            try:
                await call.done.wait()
            finally:
                self._waiting.discard(scope)

    def _is_slow(self) -> bool:
        return self._writer.busy_seconds() > SLOW_SECONDS

    def _slow_text(self) -> str:
        return f"{self.path}: its disk has not answered for more than {SLOW_SECONDS:g} seconds; jobs wait for it"

    def _wake(self, do: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):  # trio has ended, and every caller with it
            self._token.run_sync_soon(do)


@asynccontextmanager
async def open_database(path: Path, migrations: Sequence[str]) -> AsyncIterator[Database]:
    """Open the file, or create it, with the schema of `migrations` (see `connect`). Closed when the block ends."""
    database = Database(path, migrations)
    try:
        await database.open()
        yield database
    finally:
        await database.close()
