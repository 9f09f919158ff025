"""How many cpus and which gpus jobs may use at once, and in which order they get them.

Theory of operation. Whoever needs units queues a ticket, and waits for its own event; nobody is woken for somebody
else's. Whatever gives units back, or leaves the queue, serves the tickets at its head as long as there is enough for
them: it takes the units in their name, and sets their events. So a change costs the same however many wait.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from sandbox_actors.errors import Refused

OnWait = Callable[[str], Awaitable[None]]
"""Called once with the reason why a job waits. It holds as long as the job waits: how much is free meanwhile changes
all the time, and is not part of it."""


class Capacity:
    """`total` units. Strict FIFO, so that large requests are not starved by small ones."""

    def __init__(self, total: int, noun: str = "cpus") -> None:
        self.total, self._noun = total, noun
        self.free: float = total
        self._queue: dict[trio.Event, float] = {}  # by ticket, in order, what it waits for

    @asynccontextmanager
    async def hold(self, amount: float, on_wait: OnWait) -> AsyncIterator[None]:
        """Hold `amount` units (at most all there are) for the block."""
        amount, ticket = min(amount, self.total), trio.Event()
        if not amount:
            yield
            return
        self._queue[ticket] = amount
        self._serve_queue()
        try:
            if not ticket.is_set():
                await on_wait(f"waits for {amount:g} of {self.total} {self._noun}")
                await ticket.wait()
            yield
        finally:
            if self._queue.pop(ticket, None) is None:
                self.free += amount
            self._serve_queue()

    def seize(self, amount: float) -> None:
        """Hold `amount` units (at most all there are) at once, also where they are not free: they are in use."""
        self.free -= min(amount, self.total)

    def release(self, amount: float) -> None:
        """Give back what `seize` took."""
        self.free += min(amount, self.total)
        self._serve_queue()

    def _serve_queue(self) -> None:
        while self._queue:
            ticket, amount = next(iter(self._queue.items()))
            if amount > self.free:
                return
            del self._queue[ticket]
            self.free -= amount
            ticket.set()


class Gpus:
    """Whole devices, each held by one job at a time; those named first are given out first, which finds warm actors."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._order = list(devices)
        self._free = list(devices)
        self._capacity = Capacity(len(devices), "gpus")

    @asynccontextmanager
    async def hold(self, amount: float | None, on_wait: OnWait) -> AsyncIterator[tuple[str, ...] | None]:
        """Hold that many devices, a fraction counting as a whole one, and give their names; None for a job that names
        no number and sees them all. Raises Refused where there are not so many."""
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
        """Hold these devices at once: a run of an earlier daemon uses them."""
        self._capacity.seize(len(devices))
        self._free = [each for each in self._free if each not in devices]

    def release(self, devices: Sequence[str]) -> None:
        """Give back what `seize` took."""
        self._free = [each for each in self._order if each in self._free or each in devices]
        self._capacity.release(len(devices))

    def next(self, count: int) -> tuple[str, ...]:
        """Those that would be given out now."""
        return tuple(self._free[:count])


class Resources:
    """What jobs hold of the machine while they run."""

    def __init__(self, cpus: int, gpus: Sequence[str]) -> None:
        self.cpus, self.gpus = Capacity(cpus), Gpus(gpus)

    @asynccontextmanager
    async def hold(self, cpus: float, gpus: float | None, on_wait: OnWait) -> AsyncIterator[tuple[str, ...] | None]:
        """Hold both for the block, which gets the names of the gpus (see `Gpus.hold`). Gpus come first: they are
        fewer, and cpus that are held while a gpu is waited for would be idle."""
        async with self.gpus.hold(gpus, on_wait) as devices, self.cpus.hold(cpus, on_wait):
            yield devices

    def seize(self, cpus: float, devices: Sequence[str]) -> None:
        """Hold both at once, whether there is enough of them or not: a run of an earlier daemon uses them."""
        self.cpus.seize(cpus)
        self.gpus.seize(devices)

    def release(self, cpus: float, devices: Sequence[str]) -> None:
        """Give back what `seize` took."""
        self.cpus.release(cpus)
        self.gpus.release(devices)
