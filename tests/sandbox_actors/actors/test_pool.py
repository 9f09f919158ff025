from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
import trio.testing

from sandbox_actors.actors import worker_bundle
from sandbox_actors.actors.component_actor import ComponentActor
from sandbox_actors.actors.eviction import due
from sandbox_actors.jobs.capacity import Capacity


class Idle:
    """As much of an idle actor as eviction looks at."""

    def __init__(self, name: str, idle_since: float, keep_alive: float = 100.0, rss: int = 1) -> None:
        self.name, self.idle_since, self.keep_alive, self.rss = name, idle_since, keep_alive, rss


def names(idle: list[Any], now: float, max_idle: int = 10, max_memory: int = 1000) -> list[str]:
    chosen: list[ComponentActor] = due(idle, now, max_idle, max_memory)
    return [actor.name for actor in chosen]


def test_an_actor_goes_when_its_keep_alive_is_over_and_not_before() -> None:
    idle = [Idle("short", 0.0, keep_alive=5.0), Idle("long", 0.0, keep_alive=50.0)]
    assert names(idle, now=4.9) == []
    assert names(idle, now=5.0) == ["short"]


def test_the_least_recently_used_go_when_there_are_too_many() -> None:
    idle = [Idle("newest", 3.0), Idle("oldest", 1.0), Idle("middle", 2.0)]
    assert names(idle, now=4.0, max_idle=1) == ["oldest", "middle"]


def test_the_least_recently_used_go_until_the_rest_fits_into_memory() -> None:
    idle = [Idle("large", 2.0, rss=600), Idle("old", 1.0, rss=300), Idle("small", 3.0, rss=200)]
    assert names(idle, now=4.0, max_memory=1000) == ["old"]
    assert names(idle, now=4.0, max_memory=500) == ["old", "large"]


def test_expired_ones_make_room_before_others_have_to_go() -> None:
    idle = [Idle("expired", 5.0, keep_alive=1.0, rss=900), Idle("old", 1.0, rss=900)]
    assert names(idle, now=10.0, max_memory=1000) == ["expired"]


async def test_cpus_are_given_in_the_order_they_were_asked_for() -> None:
    capacity, order, release = Capacity(2), list[str](), trio.Event()
    told: list[str] = []

    async def say(reason: str) -> None:
        told.append(reason)

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
        assert "waits for 2 of 2 cpus, 1 are free" in told
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


def test_the_bundle_holds_what_workers_need_and_nothing_of_the_base_env(tmp_path: Path) -> None:
    made = worker_bundle.lay_out(tmp_path)
    assert worker_bundle.lay_out(tmp_path) == made
    names = {str(path.relative_to(made)) for path in made.rglob("*.py")}
    assert {"sandbox_actors/errors.py", "sandbox_actors/worker/host.py", "components/base.py"} <= names
    rooms = {name.split("/")[1] for name in names if name.startswith("sandbox_actors/")}
    assert rooms == {*worker_bundle.GROUND, "protocol", "worker"}
    assert not [path for path in tmp_path.iterdir() if path != made]
