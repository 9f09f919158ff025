"""Cpus are given in the order in which they are asked for, devices to one job at a time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from sandbox_actors.errors import Refused
from sandbox_actors.experiment.model import Resources
from sandbox_actors.experiment_file.checks.resources import describe_gpu_shortage
from sandbox_actors.jobs.capacity import Capacity, Gpus
from sandbox_actors.system.machine import Machine


async def no_wait(reason: str) -> None:
    raise AssertionError(reason)


async def test_each_device_is_held_by_one_job_and_the_first_free_one_is_next() -> None:
    gpus = Gpus(["0", "1", "2"])
    async with gpus.hold(2, no_wait) as first:
        assert first == ("0", "1")
        async with gpus.hold(0.5, no_wait) as second:
            assert second == ("2",)
        assert gpus.next(1) == ("2",)
    assert gpus.next(3) == ("0", "1", "2")


async def test_who_needs_more_than_are_free_waits_and_is_told() -> None:
    gpus, reasons, order = Gpus(["0", "1"]), list[str](), list[str]()
    reported = trio.Event()

    async def on_wait(reason: str) -> None:
        reasons.append(reason)
        reported.set()

    async def wants_both() -> None:
        async with gpus.hold(2, on_wait) as both:
            order.append(f"got {both}")

    async with trio.open_nursery() as nursery, gpus.hold(1, no_wait):
        nursery.start_soon(wants_both)
        await reported.wait()
        order.append("released")
    assert reasons == ["waits for 2 of 2 gpus"]
    assert order == ["released", "got ('0', '1')"]


async def test_a_job_that_names_no_number_sees_them_all_and_none_is_none() -> None:
    gpus = Gpus(["0"])
    async with gpus.hold(None, no_wait) as every, gpus.hold(0, no_wait) as none, gpus.hold(1, no_wait) as one:
        assert (every, none, one) == (None, (), ("0",))


async def test_more_than_there_are_is_refused_at_once() -> None:
    with pytest.raises(Refused, match="asks for 2 gpus, and this machine has 1"):
        async with Gpus(["0"]).hold(2, no_wait):
            pass


def test_what_is_missing_is_told_with_the_numbers() -> None:
    without, with_two = Machine(cpus=1, memory=1), Machine(cpus=1, memory=1, gpus=("0", "1"))
    assert describe_gpu_shortage(Resources(gpus=1), without) == "asks for 1 gpus, and this machine has none"
    assert describe_gpu_shortage(Resources(gpus=3), with_two) == "asks for 3 gpus, and this machine has 2"
    assert describe_gpu_shortage(Resources(gpus=2), with_two) == describe_gpu_shortage(Resources(), without) == ""


async def test_cpus_are_given_in_the_order_they_were_asked_for() -> None:
    capacity, order, release = Capacity(2), list[str](), trio.Event()
    reported: list[str] = []

    async def say(reason: str) -> None:
        reported.append(reason)

    async def work(name: str, amount: int, until: trio.Event | None = None) -> None:
        async with capacity.hold(amount, say):
            order.append(name)
            if until is not None:
                await until.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, "first", 1, release)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(work, "large", 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(work, "small, behind the large one", 1)
        await trio.testing.wait_all_tasks_blocked()
        assert order == ["first"]
        assert reported == ["waits for 2 of 2 cpus", "waits for 1 of 2 cpus"]
        release.set()
    assert order == ["first", "large", "small, behind the large one"]
    assert capacity.free == 2


async def test_whoever_gives_up_waiting_holds_up_nobody() -> None:
    capacity, release, done = Capacity(1), trio.Event(), list[str]()

    async def say(reason: str) -> None:
        return None

    async def hold(name: str, until: trio.Event | None, scope: trio.CancelScope) -> None:
        with scope:
            async with capacity.hold(1, say):
                if until is not None:
                    await until.wait()
                done.append(name)

    gives_up = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, "holder", release, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, "gives up", None, gives_up)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, "patient", None, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        gives_up.cancel()
        release.set()
    assert done == ["holder", "patient"]
    assert capacity.free == 1


async def test_more_than_there_is_means_all_there_is_and_nothing_waits_for_nothing() -> None:
    capacity = Capacity(2)

    async def say(reason: str) -> None:
        raise AssertionError(reason)

    async with capacity.hold(64, say), capacity.hold(0, say):
        assert capacity.free == 0


async def test_a_change_wakes_only_those_whose_turn_it_is_and_a_reason_is_reported_once() -> None:
    capacity, release, reasons = Capacity(2), [trio.Event() for _ in range(100)], list[str]()
    held, woken = list[int](), list[trio.lowlevel.Task]()

    async def say(reason: str) -> None:
        reasons.append(reason)

    async def hold(number: int) -> None:
        async with capacity.hold(1, say):
            held.append(number)
            await release[number].wait()

    class Wakeups(trio.abc.Instrument):
        def task_scheduled(self, task: trio.lowlevel.Task) -> None:
            woken.append(task)

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(hold, number)
            await trio.testing.wait_all_tasks_blocked()
        assert held == [0, 1]
        instrument = Wakeups()
        trio.lowlevel.add_instrument(instrument)
        release[0].set()
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(instrument)
        assert held == [0, 1, 2]
        assert len(set(woken)) <= 4  # the holder, the next one, the nursery, this test
        for event in release[1:]:
            event.set()
            await trio.testing.wait_all_tasks_blocked()
    assert held == list(range(100))
    assert reasons == ["waits for 1 of 2 cpus"] * 98
    assert capacity.free == 2


async def test_one_that_has_its_turn_and_is_cancelled_before_it_runs_gives_it_back() -> None:
    capacity, scope, held = Capacity(1), trio.CancelScope(), list[str]()

    async def say(reason: str) -> None:
        return None

    async def hold(name: str, scope: trio.CancelScope) -> None:
        with scope:
            async with capacity.hold(1, say):
                held.append(name)

    async with trio.open_nursery() as nursery, capacity.hold(1, say):
        nursery.start_soon(hold, "cancelled", scope)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, "next", trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()  # it has not run since when the block ends, and serves it
    assert held == ["next"]
    assert capacity.free == 1
