"""The thread that owns the database's connection: it carries out calls in order, and survives a disk that fails.

Theory of operation. There are two sides. Tasks in trio make calls and wait for `Call.done`; one thread carries them
out. Between them there are a queue (trio to the thread), `wake` (the thread to trio), and the lock in `CallResults`.
Everything else here belongs to the thread, except `fault` and `busy_seconds()`, which trio reads as they are.

- The thread takes all calls that have arrived, and carries them out in one transaction of at most `BATCH_SECONDS`. Each
  call runs in a savepoint, so a call that raises loses only its own changes. Reads without a write need no transaction.
- A backup runs in the same thread, a few pages at a time, and the calls that arrive meanwhile are carried out between.
- An error that is the disk's fault is a `DiskFault`. The batch is put back and tried again every `RETRY_SECONDS`. Only
  calls that are prompt (a client waits at its terminal) are refused at once; reads are still answered if the file is
  open.
- Except when the disk is full, a connection that met a fault is not used again: after a failed fsync it treats
  unwritten pages as written. The file is opened again, its log is written to it once more and synced, and the number of
  the last commit in it tells whether the commit that failed took place. Until then the calls of that commit are
  `_uncertain`.
- A prompt call may be withdrawn from trio at any time while the disk hangs, even while it is carried out, if it is a
  read or has an `undo`. If it takes place all the same, its `undo` is carried out next. A settled call cannot be
  withdrawn.

Guaranteed: calls take effect in the order in which they were made; each is settled exactly once, and only after its
commit; a refused or withdrawn call has no effect that remains, if it is a read or has an `undo`; a disk that hangs
blocks neither trio nor the exit of the process.

What failed: several connections in WAL mode (SQLite 3.7.0 to 3.51.2 can corrupt the file), so there is one. Deferred
transactions that begin to write fail with BUSY_SNAPSHOT at once, whatever the timeout, so all begin IMMEDIATE. Trio's
own worker threads: when all 40 are stuck in something else, nothing is committed.
"""

from __future__ import annotations

import errno
import gc
import logging
import queue
import sqlite3
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox_actors.errors import StoreError
from sandbox_actors.store.backup import back_up, backup_age
from sandbox_actors.store.calls import Call, CallResults
from sandbox_actors.store.connect import connect, last_commit
from sandbox_actors.store.disk_faults import DiskFault, disk_fault_of, translate

log = logging.getLogger(__name__)

BATCH_SECONDS = 0.05
"""How long a transaction takes in calls before it is committed."""

RETRY_SECONDS = 1.0
"""Between two attempts to write to a disk that is at fault."""

BACKUP_SECONDS = 24 * 3600.0
"""Between two backups."""

BACKUP_AGAIN_SECONDS = 3600.0
"""Between two attempts to make a backup, if the first fails."""


class WriterThread:
    """Owns the connection to the file `path`. `wake(do)` runs `do()` in trio; `ended` is called there at the end."""

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        wake: Callable[[Callable[[], object]], None],
        ended: Callable[[], object],
    ) -> None:
        self.path = path
        self.opened = Call(lambda connection: None)
        self.fault: DiskFault | None = None
        self._migrations, self._wake, self._ended = migrations, wake, ended
        self._results = CallResults(wake)
        self.withdraw = self._results.withdraw
        self._queue: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._pending: deque[Call] = deque()
        self._uncertain: tuple[int, list[Call]] | None = None
        self._connection: sqlite3.Connection | None = None
        self._commits = 0
        self._is_ending = False
        self._busy_since: float | None = None
        # A daemon thread: a disk that hangs in fsync must not keep the process from exiting.
        self._thread = threading.Thread(target=self._serve, name="database", daemon=True)

    # --- for trio ---

    def start(self) -> None:
        """Start the thread. `opened` is settled when the file is open, or cannot be opened."""
        self._thread.start()

    def put(self, call: Call | None) -> None:
        """Queue a call; None ends the thread after the calls before it."""
        self._queue.put(call)

    def busy_seconds(self) -> float:
        """How long the current operation of the disk has taken; 0 if there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    # --- the thread ---

    def _serve(self) -> None:
        try:
            self._backup_due = time.monotonic() + max(0.0, BACKUP_SECONDS - backup_age(self.path))
            self._open()
            self._deliver([self.opened])
            while not self._is_ending:
                self._receive()
                self._work()
                self._back_up_if_due()
            self._refuse_all("the store was closed before this could be written")
        except Exception as error:
            self.opened.error = translate(error, self.path)
            self._deliver([self.opened])
            self._refuse_all(str(self.opened.error))
        finally:
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    self._connection.close()
            self._wake(self._ended)

    def _refuse_all(self, text: str) -> None:
        uncertain = [] if self._uncertain is None else self._uncertain[1]
        self._results.refuse([*uncertain, *self._pending], text)

    def _open(self) -> None:
        self._connection = connect(self.path, self._migrations)
        self._commits = last_commit(self._connection)

    def _back_up_if_due(self) -> None:
        if self._connection is None or self.fault is not None or time.monotonic() < self._backup_due:
            return
        try:
            back_up(self._connection, self.path, self._perform_pending)
            self._backup_due = time.monotonic() + BACKUP_SECONDS
        except DiskFault as fault:
            self._pause(fault)
        except (StoreError, sqlite3.Error, OSError) as error:
            log.warning("%s: no backup could be made: %s", self.path, error)
            self._backup_due = time.monotonic() + BACKUP_AGAIN_SECONDS

    def _perform_pending(self) -> None:
        """Carry out the calls that arrived during a backup. Raises DiskFault, which ends the backup."""
        with suppress(queue.Empty):
            while True:
                self._accept(self._queue.get_nowait())
        while self._pending and not self._is_ending:
            self._commit()

    def _receive(self) -> None:
        """Wait for calls, and take all that have arrived. While paused, wait only until the next attempt is due."""
        due = time.monotonic() + RETRY_SECONDS if self.fault is not None else self._backup_due
        while True:
            try:
                self._accept(self._queue.get(timeout=max(0.0, due - time.monotonic())))
                while True:
                    self._accept(self._queue.get_nowait())
            except queue.Empty:
                if self.fault is None or self._is_ending or time.monotonic() >= due:
                    return

    def _accept(self, call: Call | None) -> None:
        if call is None:
            self._is_ending = True
        elif self.fault is not None and call.is_prompt:
            self._perform_while_paused(call)
        else:
            self._pending.append(call)

    def _perform_while_paused(self, call: Call) -> None:
        """Answer a prompt read, if the file is open, though nothing can be written; refuse a write."""
        assert self.fault is not None
        if call.is_write or self._connection is None:
            self._results.refuse([call], self.fault.text)
            return
        try:
            self._perform(self._connection, call)
        except DiskFault as fault:
            self._results.refuse([call], fault.text)
        else:
            self._deliver([call])

    def _work(self) -> None:
        """Carry out the pending calls, as far as the disk allows."""
        try:
            if self._connection is None:
                self._reopen()
            self._commit_all()
        except DiskFault as fault:
            self._pause(fault)
        else:
            self._resume()

    def _commit_all(self) -> None:
        """Carry out all pending calls. A first fault is tried again at once; then raises DiskFault, and keeps the
        rest."""
        failures = 0
        while self._pending:
            try:
                self._commit()
            except DiskFault as fault:
                failures += 1
                if fault.is_suspect:
                    self._reopen()
                if failures > 1 or not fault.is_suspect:
                    raise
            else:
                failures = 0

    def _commit(self) -> None:
        """Carry out calls in one transaction, for at most `BATCH_SECONDS`. Raises DiskFault, and keeps the calls."""
        assert self._connection is not None
        batch: list[Call] = []
        try:
            with self._mark_busy():
                self._run_transaction(self._connection, batch)
        except Exception as error:
            fault = error if isinstance(error, DiskFault) else disk_fault_of(error, self.path)
            if fault is not None:
                traceback.clear_frames(error.__traceback__)  # a cursor in one of them keeps the file locked
                self._abort(batch, fault)
                raise fault from None
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for call in batch:
                call.error = translate(error, self.path)
        self._deliver(batch)

    @contextmanager
    def _mark_busy(self) -> Iterator[None]:
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._busy_since = None

    def _run_transaction(self, connection: sqlite3.Connection, batch: list[Call]) -> None:
        pending = self._pending
        if not any(call.is_write for call in pending):
            while pending:
                batch.append(pending.popleft())
                self._perform(connection, batch[-1])
            return
        # NORMAL does not sync the log at a commit: a power cut may lose it, the end of the process does not.
        level = "FULL" if any(call.is_durable for call in pending) else "NORMAL"
        connection.execute(f"PRAGMA synchronous={level}")
        connection.execute("BEGIN IMMEDIATE")
        deadline = time.monotonic() + BATCH_SECONDS
        while pending and (not batch or time.monotonic() < deadline):  # at least one, however late it is
            batch.append(pending.popleft())
            if not batch[-1].is_withdrawn:
                self._perform_in_savepoint(connection, batch[-1])
        connection.execute("UPDATE commits SET number = ?", (self._commits + 1,))
        connection.execute("COMMIT")
        self._commits += 1

    def _perform_in_savepoint(self, connection: sqlite3.Connection, call: Call) -> None:
        """Carry out a call. If it fails, only its own changes are rolled back."""
        connection.execute("SAVEPOINT one_call")
        self._perform(connection, call)
        if call.error is not None:
            connection.execute("ROLLBACK TO one_call")
        connection.execute("RELEASE one_call")

    def _perform(self, connection: sqlite3.Connection, call: Call) -> None:
        """Carry out the work of a call. Raises DiskFault if the disk, not this call, is at fault."""
        try:
            call.result = call.work(connection)
        except Exception as error:
            if fault := disk_fault_of(error, self.path):
                traceback.clear_frames(error.__traceback__)
                raise fault from None
            call.error = translate(error, self.path)

    def _abort(self, batch: list[Call], fault: DiskFault) -> None:
        """Roll back a transaction that hit a fault, and put its calls back to the front of the queue."""
        assert self._connection is not None
        if fault.is_suspect:
            connection, self._connection = self._connection, None
            self._uncertain = (self._commits + 1, batch)
            with suppress(sqlite3.Error):
                connection.close()
            return
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._put_back(batch)

    def _reopen(self) -> None:
        """Open the file again, and find out whether the commit that failed took place. Raises DiskFault."""
        gc.collect()  # objects that refer to the old connection, which would keep the file locked
        expected = self._commits
        try:
            with self._mark_busy():
                if not self.path.exists():
                    raise FileNotFoundError(errno.ENOENT, "the file is gone; put it back, and it continues")
                self._open()
                assert self._connection is not None
                # Writes every page of the log to the file again and syncs it, whatever the failed sync has left out.
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except Exception as error:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                connection.close()
            self._commits = expected
            traceback.clear_frames(error.__traceback__)
            # None: not an error of the disk, but for example another schema. The file was replaced by another one.
            raise disk_fault_of(error, self.path) or DiskFault(str(error), is_suspect=True) from None
        if self._commits < expected:
            lost = expected - self._commits
            log.error("%s: the disk has lost the last %d commits, which held only metrics", self.path, lost)
        if self._uncertain is not None:
            (number, batch), self._uncertain = self._uncertain, None
            if self._commits == number:
                self._deliver(batch)
            else:
                self._put_back(batch)

    def _put_back(self, batch: list[Call]) -> None:
        for call in batch:
            call.reset()
        self._pending.extendleft(reversed([call for call in batch if not call.is_settled]))

    def _pause(self, fault: DiskFault) -> None:
        # The text in parentheses holds figures that change with every attempt: the same fault is logged once.
        if self.fault is None or self.fault.text.partition("(")[0] != fault.text.partition("(")[0]:
            log.error("the store is paused: %s", fault.text)
        self.fault = fault
        prompt = [call for call in self._pending if call.is_prompt]  # their callers do not wait for a disk
        self._pending = deque(call for call in self._pending if not call.is_prompt)
        self._results.refuse(prompt, fault.text)
        if self._uncertain is not None:
            number, batch = self._uncertain
            self._uncertain = number, [call.as_withdrawn() if call.is_prompt else call for call in batch]
            self._results.refuse([call for call in batch if call.is_prompt], fault.text)

    def _resume(self) -> None:
        if self.fault is not None:
            self.fault = None
            log.info("the store continues: %s: all waiting calls have been committed", self.path)

    def _deliver(self, calls: list[Call]) -> None:
        self._pending.extendleft(self._results.deliver(calls))
