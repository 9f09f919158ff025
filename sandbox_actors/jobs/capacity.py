"""How many cpus and which gpus jobs may use at once, and in which order they get them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from sandbox_actors.errors import Refused


class Capacity:
    """`total` units, held by whoever asked first. Nobody overtakes: else large wishes would never come true."""

    def __init__(self, total: int, noun: str = "cpus") -> None:
        self.total, self._noun = total, noun
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
                await on_wait(f"waits for {amount:g} of {self.total} {self._noun}, {self.free:g} are free")
                await changed.wait()
            self.free -= amount
        finally:
            self._queue.remove(ticket)
            self._tell()
        try:
            yield
        finally:
            self.release(amount)

    def seize(self, amount: float) -> None:
        """Hold `amount` units (at most all there are) at once, also where they are not free: they are in use."""
        self.free -= min(amount, self.total)

    def release(self, amount: float) -> None:
        """End what `seize` began."""
        self.free += min(amount, self.total)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Gpus:
    """Whole devices, each held by one job at a time; those named first are given out first, which finds warm actors."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._order = list(devices)
        self._free = list(devices)
        self._capacity = Capacity(len(devices), "gpus")

    @asynccontextmanager
    async def hold(
        self, amount: float | None, on_wait: Callable[[str], Awaitable[None]]
    ) -> AsyncIterator[tuple[str, ...] | None]:
        """Hold that many devices, a begun one counting whole, and give their names; None for a job that names no number
        and sees them all. Raises Refused where there are not so many."""
        if amount is None:
            yield None
            return
        count = math.ceil(amount)
        if count > len(self._order):
            raise Refused(f"asks for {amount:g} gpus, and this machine has {len(self._order) or 'none'}")
        async with self._capacity.hold(count, on_wait):
            taken, self._free = self.next(count), self._free[count:]
            try:
                yield taken
            finally:
                self._free = [each for each in self._order if each in self._free or each in taken]

    def seize(self, devices: Sequence[str]) -> None:
        """Hold these devices at once: a job that goes on uses them."""
        self._capacity.seize(len(devices))
        self._free = [each for each in self._free if each not in devices]

    def release(self, devices: Sequence[str]) -> None:
        """End what `seize` began."""
        self._free = [each for each in self._order if each in self._free or each in devices]
        self._capacity.release(len(devices))

    def next(self, count: int) -> tuple[str, ...]:
        """Those that would be given out now."""
        return tuple(self._free[:count])
