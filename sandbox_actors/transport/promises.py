"""Answers that have not arrived yet."""

from __future__ import annotations

import itertools
from typing import Generic, TypeVar

import trio

from sandbox_actors.errors import SandboxError

T = TypeVar("T")


class Promise(Generic[T]):
    """An answer that has not arrived yet: set once, awaited by one task."""

    __slots__ = ("__weakref__", "_error", "_event", "_value")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._value: T  # set by `resolve`, before the event is
        self._error: BaseException | None = None

    def resolve(self, value: T) -> None:
        if not self._event.is_set():
            self._value = value
            self._event.set()

    def reject(self, error: BaseException) -> None:
        if not self._event.is_set():
            self._error = error
            self._event.set()

    async def wait(self) -> T:
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._value


class PromiseTable(Generic[T]):
    """The open asks of one direction of one connection, by id."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._open: dict[int, Promise[T]] = {}
        self._ended: SandboxError | None = None

    def __len__(self) -> int:
        return len(self._open)

    def new(self) -> tuple[int, Promise[T]]:
        """A new id and its promise. Raises the error that `end` was given, if it was called."""
        if self._ended is not None:
            raise self._ended
        id = next(self._ids)
        promise = self._open[id] = Promise[T]()
        return id, promise

    def take(self, id: int) -> Promise[T] | None:
        """The promise of `id`, which is then no longer open; None if no task waits for it."""
        return self._open.pop(id, None)

    def end(self, error: SandboxError) -> None:
        """Fail all open promises with `error`, and raise it from every later `new`."""
        self._ended = error
        waiting, self._open = self._open, {}
        for promise in waiting.values():
            promise.reject(error)
