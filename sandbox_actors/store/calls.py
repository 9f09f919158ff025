"""Calls to the writer thread, and how their results get back to the tasks in trio that made them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import trio

from sandbox_actors.errors import StoreError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


@dataclass(eq=False, slots=True)
class Call:
    """Work for the thread, and its result. `done` is set in trio, after `result` or `error`.

    `is_prompt`: refuse it rather than let it wait for a disk. `undo(result)` makes the work that reverses it.
    """

    work: Work[Any]
    is_write: bool = False
    is_durable: bool = False
    is_prompt: bool = False
    undo: Callable[[Any], Work[object]] | None = None
    done: trio.Event = field(default_factory=trio.Event)
    result: Any = None
    error: Exception | None = None
    is_settled: bool = False
    is_withdrawn: bool = False

    def as_withdrawn(self) -> Call:
        """A copy without a caller, to be undone if it took place: for a call that is refused before that is known."""
        return replace(self, done=trio.Event(), is_withdrawn=True, is_prompt=False)

    def reset(self) -> None:
        """Drop the result: the transaction was rolled back, and the call will be carried out again."""
        self.result = self.error = None


class CallResults:
    """Delivers the results of calls to trio, each once. `wake(do)` runs `do()` in trio.

    The lock decides between the thread, which settles a call, and its caller in trio, which withdraws it.
    """

    def __init__(self, wake: Callable[[Callable[[], object]], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()

    def deliver(self, calls: Sequence[Call]) -> list[Call]:
        """Settle `calls`. Returns the calls that undo those which were withdrawn and took place all the same."""
        with self._lock:
            for call in calls:
                call.is_settled = True

        def set_done() -> None:
            for call in calls:
                call.done.set()

        self._wake(set_done)
        undone = []
        for call in calls:
            if call.is_withdrawn and call.undo is not None and call.result is not None and call.error is None:
                undone.append(Call(call.undo(call.result), is_write=True, is_durable=True))
        return undone

    def refuse(self, calls: Sequence[Call], text: str) -> None:
        """Settle `calls` with a StoreError."""
        for call in calls:
            call.result, call.error = None, StoreError(text)
        self.deliver(calls)

    def withdraw(self, call: Call) -> bool:
        """Withdraw a call, so that it has no lasting effect. False if it is settled, or is a write that has no
        `undo`."""
        with self._lock:
            call.is_withdrawn = not call.is_settled and (not call.is_write or call.undo is not None)
            return call.is_withdrawn
