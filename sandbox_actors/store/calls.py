"""What is asked of the keeper of a database, and how those who ask learn what became of it."""

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
    """Work for the thread, and what became of it. `done` is set in trio, when `result` or `error` is there."""

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
        """What is left of a call whose caller is refused before it is known whether it took place: to be undone."""
        return replace(self, done=trio.Event(), is_withdrawn=True, is_prompt=False)

    def reset(self) -> None:
        """What came of it is undone: it will be carried out once more."""
        self.result = self.error = None


class CallResults:
    """Settles calls: once, and never one that was withdrawn before. `wake(do)` has `do()` done in trio."""

    def __init__(self, wake: Callable[[Callable[[], object]], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()

    def deliver(self, calls: Sequence[Call]) -> list[Call]:
        """Give `calls` their results. What has to be done to undo those that nobody waits for any more is returned."""
        with self._lock:
            for call in calls:
                call.is_settled = True

        def tell() -> None:
            for call in calls:
                call.done.set()

        self._wake(tell)
        undone = []
        for call in calls:
            if call.is_withdrawn and call.undo is not None and call.result is not None and call.error is None:
                undone.append(Call(call.undo(call.result), is_write=True, is_durable=True))
        return undone

    def refuse(self, calls: Sequence[Call], text: str) -> None:
        """Give `calls` a StoreError."""
        for call in calls:
            call.result, call.error = None, StoreError(text)
        self.deliver(calls)

    def withdraw(self, call: Call) -> bool:
        """Whether it could be seen to that a call, which nobody waits for any more, has no effect."""
        with self._lock:
            call.is_withdrawn = not call.is_settled and (not call.is_write or call.undo is not None)
            return call.is_withdrawn
