"""Calls are settled once: a caller either gets its result or withdraws, never both."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from sandbox_actors.errors import StoreError
from sandbox_actors.store.calls import Call, CallResults


def run_now(do: Callable[[], object]) -> None:
    """Replaces trio: runs `do` in this thread."""
    do()


def delete(number: int) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.execute("DELETE FROM numbers WHERE number = ?", (number,))


def read() -> Call:
    return Call(lambda db: 1)


def write() -> Call:
    return Call(lambda db: 1, is_write=True)


def write_with_undo() -> Call:
    return Call(lambda db: 1, is_write=True, undo=delete)


@pytest.mark.parametrize("make", [read, write_with_undo])
def test_a_call_that_is_settled_cannot_be_withdrawn(make: Callable[[], Call]) -> None:
    results = CallResults(run_now)
    call = make()
    call.result = 1
    assert results.deliver([call]) == []
    assert not results.withdraw(call)
    assert not call.is_withdrawn
    assert (call.done.is_set(), call.result, call.error) == (True, 1, None)


def test_a_call_that_was_refused_cannot_be_withdrawn() -> None:
    results = CallResults(run_now)
    call = write_with_undo()
    results.refuse([call], "the disk is full")
    assert not results.withdraw(call)
    assert isinstance(call.error, StoreError)


def test_a_call_is_settled_as_soon_as_the_thread_has_delivered_it_though_trio_has_not_run_yet() -> None:
    later: list[Callable[[], object]] = []
    results = CallResults(later.append)
    call = write_with_undo()
    results.deliver([call])
    assert not call.done.is_set()
    assert not results.withdraw(call), "its result is on the way: the caller has to take it"


def test_a_write_that_is_withdrawn_before_it_is_settled_is_undone() -> None:
    results = CallResults(run_now)
    call = write_with_undo()
    assert results.withdraw(call)
    call.result = 7
    (undo,) = results.deliver([call])
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE numbers AS SELECT 7 AS number UNION SELECT 8")
        undo.work(db)
        assert db.execute("SELECT number FROM numbers").fetchall() == [(8,)]
    assert undo.is_write
    assert undo.is_durable


def test_a_write_without_undo_cannot_be_withdrawn() -> None:
    call = write()
    assert not CallResults(run_now).withdraw(call)
    assert not call.is_withdrawn


def test_a_read_can_be_withdrawn_and_needs_no_undo() -> None:
    results = CallResults(run_now)
    call = read()
    assert results.withdraw(call)
    call.result = 1
    assert results.deliver([call]) == []
