"""Which idle actors have to go: pure functions of what is known of them."""

from __future__ import annotations

from sandbox_actors.actors.component_actor import ActorNeeds, ComponentActor


def outdated(idle: list[ComponentActor], needs: ActorNeeds) -> list[ComponentActor]:
    """The idle actors whose code has changed since they were started, as `needs` says: no job can use them again."""
    alike = [actor for actor in idle if actor.needs.origin == needs.origin]
    return [actor for actor in alike if actor.needs.code.digest != needs.code.digest]


def due(idle: list[ComponentActor], now: float, max_idle: int, max_memory: int) -> list[ComponentActor]:
    """Which idle actors have to go at time `now`: those over their keep-alive, then the least recently used until at
    most `max_idle` are left and they hold at most `max_memory` bytes."""
    expired = [actor for actor in idle if now - actor.idle_since >= actor.keep_alive]
    left = sorted((actor for actor in idle if actor not in expired), key=lambda actor: actor.idle_since)
    crowded = []
    while left and (len(left) > max_idle or sum(actor.rss for actor in left) > max_memory):
        crowded.append(left.pop(0))
    return expired + crowded
