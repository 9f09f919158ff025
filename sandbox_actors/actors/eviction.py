"""Which idle actors have to go: pure functions of what is known of them."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox_actors.actors.component_actor import ActorNeeds, ComponentActor


def outdated(idle: list[ComponentActor], needs: ActorNeeds) -> list[ComponentActor]:
    """The idle actors whose code has changed since they were started, as `needs` says: no job can use them again."""
    alike = [actor for actor in idle if actor.needs.origin == needs.origin]
    return [actor for actor in alike if actor.needs.code.digest != needs.code.digest]


@dataclass(frozen=True)
class IdleLimits:
    """What idle actors may cost: how many may be `actors` that run components, how many `log_watchers`, which are for
    any run of their component, and how much `memory` they may hold together, in bytes."""

    actors: int
    log_watchers: int
    memory: int


def due(idle: list[ComponentActor], now: float, limits: IdleLimits) -> list[ComponentActor]:
    """Which idle actors have to go at time `now`: those over their keep-alive, then the least recently used until the
    rest is within the limits."""
    gone = [actor for actor in idle if now - actor.idle_since >= actor.keep_alive]
    left = sorted(
        (actor for actor in idle if now - actor.idle_since < actor.keep_alive), key=lambda actor: actor.idle_since
    )
    surplus = {
        False: sum(not actor.needs.is_log_watcher for actor in left) - limits.actors,
        True: sum(actor.needs.is_log_watcher for actor in left) - limits.log_watchers,
    }
    memory = sum(actor.rss for actor in left)
    for actor in left:
        kind = actor.needs.is_log_watcher
        if surplus[kind] > 0 or memory > limits.memory:
            surplus[kind] -= 1
            memory -= actor.rss
            gone.append(actor)
    return gone
