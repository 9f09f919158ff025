"""How many cpus jobs may use at once, and in which order they get them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


class Capacity:
    """`total` units, held by whoever asked first. Nobody overtakes: else large wishes would never come true."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free: float = total
        self._queue: list[object] = []
        self._changed = trio.Event()

    @asynccontextmanager
    async def hold(self, amount: float, on_wait: Callable[[str], Awaitable[None]]) -> AsyncIterator[None]:
        """Hold `amount` units (at most all there are) for the block; `on_wait` is told when that means waiting."""
        amount = min(amount, self.total)
        ticket = object()
        self._queue.append(ticket)
        try:
            while amount and (self._queue[0] is not ticket or amount > self.free):
                changed = self._changed
                await on_wait(f"waits for {amount:g} of {self.total} cpus, {self.free:g} are free")
                await changed.wait()
            self.free -= amount
        finally:
            self._queue.remove(ticket)
            self._tell()
        try:
            yield
        finally:
            self.free += amount
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
