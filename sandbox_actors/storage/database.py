"""One SQLite connection, owned by one thread, awaited from trio.

The thread is the database's own: trio's worker threads may all be stuck in something else, and a commit must not
wait for them. The file is in WAL mode, which has a rare corruption bug when several connections write to it (SQLite
3.7.0 to 3.51.2); exclusive locking makes SQLite itself see to it that there is only the one.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import trio

from sandbox_actors.errors import SandboxError, StoreError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BATCH_SECONDS = 0.05
"""The longest that a transaction goes on taking in work before it is committed."""

CLOSE_SECONDS = 10.0


@dataclass(eq=False, slots=True)
class _Call:
    work: Work[Any]
    is_write: bool
    is_durable: bool
    done: trio.Event = field(default_factory=trio.Event)
    result: Any = None
    error: Exception | None = None


class _TransactionLost(Exception):
    """SQLite rolled the whole transaction back by itself (disk full, I/O error)."""


class Database:
    """Made by `open_database`. Calls are carried out in the order in which they were made.

    A call that is cancelled while it waits may still be carried out.
    """

    def __init__(self, path: Path, script: str, version: int) -> None:
        self.path = path
        self._script, self._version = script, version
        self._queue: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._opened = _Call(lambda connection: None, is_write=False, is_durable=False)
        self._ended = trio.Event()
        self._is_closed = False
        # A daemon thread: a disk that hangs in fsync must not keep the process from exiting.
        self._thread = threading.Thread(target=self._serve, name="database", daemon=True)

    async def open(self) -> None:
        self._thread.start()
        await self._answer(self._opened)

    async def close(self) -> None:
        """Commit what was asked for, then close the file. Gives up on a disk that hangs after `CLOSE_SECONDS`."""
        self._is_closed = True
        self._queue.put(None)
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._ended.wait()

    async def read(self, work: Work[T]) -> T:
        """What `work` returns; it sees all that was written before this call. Runs in the database's thread."""
        return await self._ask(work, is_write=False, is_durable=False)

    async def write(self, work: Work[T], *, durable: bool = True) -> T:
        """What `work` returns, once its changes are committed; all of them or, if it raises, none.

        Work from many callers shares one commit. `durable` changes outlive a power cut; others outlive this process.
        """
        return await self._ask(work, is_write=True, is_durable=durable)

    async def _ask(self, work: Work[T], *, is_write: bool, is_durable: bool) -> T:
        if self._is_closed:
            raise StoreError(f"{self.path}: the store is closed")
        call = _Call(work, is_write=is_write, is_durable=is_durable)
        self._queue.put(call)
        result: T = await self._answer(call)
        return result

    async def _answer(self, call: _Call) -> Any:
        await call.done.wait()
        if call.error is not None:
            raise call.error
        return call.result

    # --- from here on: the thread ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            with closing(_connect(self.path, self._script, self._version)) as connection:
                self._deliver([self._opened])
                while calls := self._take():
                    self._commit(connection, deque(calls))
        except Exception as error:
            self._opened.error = self._translated(error)
            self._deliver([self._opened])
        finally:
            self._tell(self._ended.set)

    def _take(self) -> list[_Call]:
        """All the calls that wait, at least one; none once the database is to be closed."""
        calls: list[_Call] = []
        call = self._queue.get()
        while call is not None:
            calls.append(call)
            try:
                call = self._queue.get_nowait()
            except queue.Empty:
                return calls
        if calls:
            self._queue.put(None)
        return calls

    def _commit(self, connection: sqlite3.Connection, calls: deque[_Call]) -> None:
        """Carry out `calls`, in as few transactions as `BATCH_SECONDS` allows."""
        while calls:
            batch: list[_Call] = []
            try:
                self._transact(connection, calls, batch)
            except Exception as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                for call in batch:
                    call.error = self._translated(error)
            self._deliver(batch)

    def _transact(self, connection: sqlite3.Connection, calls: deque[_Call], batch: list[_Call]) -> None:
        if not any(call.is_write for call in calls):
            batch.extend(calls)
            calls.clear()
            for call in batch:
                self._perform(connection, call)
            return
        level = "FULL" if any(call.is_durable for call in calls) else "NORMAL"
        batch.append(calls.popleft())
        connection.execute(f"PRAGMA synchronous={level}")
        connection.execute("BEGIN IMMEDIATE")
        self._perform_apart(connection, batch[0])
        deadline = time.monotonic() + BATCH_SECONDS
        while calls and time.monotonic() < deadline:
            batch.append(calls.popleft())
            self._perform_apart(connection, batch[-1])
        connection.execute("COMMIT")

    def _perform_apart(self, connection: sqlite3.Connection, call: _Call) -> None:
        """Perform a call so that its failure takes nothing of the transaction with it but its own changes."""
        connection.execute("SAVEPOINT one_call")
        self._perform(connection, call)
        if not connection.in_transaction:
            raise _TransactionLost(str(call.error))
        if call.error is not None:
            connection.execute("ROLLBACK TO one_call")
        connection.execute("RELEASE one_call")

    def _perform(self, connection: sqlite3.Connection, call: _Call) -> None:
        try:
            call.result = call.work(connection)
        except Exception as error:
            call.error = self._translated(error)

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, SandboxError):
            return error
        if isinstance(error, (sqlite3.OperationalError, _TransactionLost)) and "locked" in str(error):
            text = "another process has this store open; `sandbox daemon status` shows the daemon that may be"
        elif isinstance(error, sqlite3.DatabaseError) and ("malformed" in str(error) or "not a database" in str(error)):
            text = f"the file is damaged ({error}); move it away to start with an empty one"
        elif isinstance(error, (sqlite3.Error, OSError, OverflowError, UnicodeError, _TransactionLost)):
            text = str(error)
        else:
            return error
        translated = StoreError(f"{self.path}: {text}")
        translated.__cause__ = error
        return translated

    def _deliver(self, calls: list[_Call]) -> None:
        def wake() -> None:
            for call in calls:
                call.done.set()

        self._tell(wake)

    def _tell(self, tell: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):  # whoever asked is gone
            self._token.run_sync_soon(tell)


@asynccontextmanager
async def open_database(path: Path, script: str, version: int) -> AsyncIterator[Database]:
    """Open the file, or make it with `script`; a file of another schema `version` is refused. Closes it at the end."""
    database = Database(path, script, version)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


def _connect(path: Path, script: str, version: int) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its -wal file the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=0.5, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("BEGIN IMMEDIATE")
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, version):
            raise StoreError(
                f"{path}: its schema has version {found}, this program knows version {version}; "
                "use the program that wrote it, or set SANDBOX_HOME to another folder"
            )
        if found == 0:
            for statement in filter(None, map(str.strip, script.split(";"))):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={version:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection
