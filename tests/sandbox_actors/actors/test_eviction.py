"""Which idle actors have to go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sandbox_actors.actors.component_actor import ComponentActor
from sandbox_actors.actors.eviction import IdleLimits, due
from sandbox_actors.actors.pool import IDLE_LIMITS
from tests.sandbox_actors.actors.memory_workers import needs


class Idle:
    """As much of an idle actor as eviction looks at."""

    def __init__(
        self, name: str, idle_since: float, keep_alive: float = 100.0, rss: int = 1, is_log_watcher: bool = False
    ) -> None:
        self.name, self.idle_since, self.keep_alive, self.rss = name, idle_since, keep_alive, rss
        self.needs = replace(needs(), is_log_watcher=is_log_watcher)


def names(idle: list[Any], now: float, max_idle: int = 10, max_memory: int = 1000) -> list[str]:
    chosen: list[ComponentActor] = due(idle, now, IdleLimits(max_idle, log_watchers=1, memory=max_memory))
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


def test_log_watchers_have_a_limit_of_their_own_and_take_no_actors_place() -> None:
    idle = [Idle(f"log{number}", float(number), is_log_watcher=True) for number in range(3)]
    idle += [Idle(f"actor{number}", float(number)) for number in range(10)]
    assert names(idle, now=20.0) == ["log0", "log1"]


def test_two_hundred_idle_actors_stay() -> None:
    idle: list[Any] = [Idle(f"actor{number}", float(number)) for number in range(200)]
    assert due(idle, 99.0, replace(IDLE_LIMITS, memory=1000)) == []
