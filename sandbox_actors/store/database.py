"""A database awaited from trio: one SQLite connection, owned by one thread (`writer_thread.py`).

The thread is the database's own: trio's worker threads may all be stuck in something else, and a commit must not
wait for them. The file is in WAL mode, which has a rare corruption bug when several connections write to it (SQLite
3.7.0 to 3.51.2); exclusive locking makes SQLite itself see to it that there is only the one.

When the disk is full or fails, what was asked for waits, in order, and is tried again until it succeeds: the work of
hours is not thrown away for want of a place to write its result. Only who asks `promptly`, as clients do, is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from sandbox_actors.errors import StoreError
from sandbox_actors.store.calls import Call, T, Work
from sandbox_actors.store.writer_thread import WriterThread

SLOW_SECONDS = 5.0
"""For which the disk may be at one thing before those who asked promptly are told."""

CLOSE_SECONDS = 10.0


class Database:
    """Made by `open_database`. Calls are carried out in the order in which they were made.

    A call that is cancelled while it waits may still be carried out.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self.path = path
        self._ended = trio.Event()
        self._is_closed = False
        self._prompt_tasks: set[trio.lowlevel.Task] = set()
        self._token = trio.lowlevel.current_trio_token()
        self._writer = WriterThread(path, migrations, self._wake, self._ended.set)

    async def open(self) -> None:
        self._writer.start()
        await self._answer(self._writer.opened)

    async def close(self) -> None:
        """Commit what was asked for, then close the file. Gives up on a disk that hangs after `CLOSE_SECONDS`."""
        self._is_closed = True
        self._writer.put(None)
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._ended.wait()

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present, and what to do; empty where all is well."""
        if self._writer.fault is not None:
            return self._writer.fault.text
        return self._slow_text() if self._is_slow() else ""

    @contextmanager
    def promptly(self) -> Iterator[None]:
        """In the block, what this task asks for is answered or refused (StoreError), but does not wait for a disk."""
        task = trio.lowlevel.current_task()
        self._prompt_tasks.add(task)
        try:
            yield
        finally:
            self._prompt_tasks.discard(task)

    async def read(self, work: Work[T]) -> T:
        """What `work` returns; it sees all that was written before this call. Runs in the database's thread.

        Promptly it may see less: what waits to be written has not been written.
        """
        result: T = await self._ask(Call(work))
        return result

    async def write(self, work: Work[T], *, durable: bool = True, undo: Callable[[T], Work[None]] | None = None) -> T:
        """What `work` returns, once its changes are committed; all of them or, if it raises, none.

        Work from many callers shares one commit. `durable` changes outlive a power cut; others outlive this process.
        `undo(result)` is done to work of which a prompt caller was told that it is too slow, and which came through.
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
            with trio.move_on_after(SLOW_SECONDS / 5) if call.is_prompt else trio.CancelScope():
                await call.done.wait()
            if not call.done.is_set() and self._is_slow() and self._writer.withdraw(call):
                raise StoreError(self._slow_text())
        if call.error is not None:
            raise call.error
        return call.result

    def _is_slow(self) -> bool:
        return self._writer.busy_seconds() > SLOW_SECONDS

    def _slow_text(self) -> str:
        return f"{self.path}: its disk has not answered for more than {SLOW_SECONDS:g} seconds; what runs waits for it"

    def _wake(self, do: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):  # whoever asked is gone
            self._token.run_sync_soon(do)


@asynccontextmanager
async def open_database(path: Path, migrations: Sequence[str]) -> AsyncIterator[Database]:
    """Open the file, or make it, with the schema that `migrations` lead to (see `connect`). Closes it at the end."""
    database = Database(path, migrations)
    try:
        await database.open()
        yield database
    finally:
        await database.close()
