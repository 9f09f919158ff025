"""What the pool is asked, beside `ListWorkers` and `StopWorker` of the clients' protocol."""

from __future__ import annotations

from typing import Literal, TypeAlias

from sandbox_actors.actors.component_actor import ActorNeeds, Lease
from sandbox_actors.protocol.frames import Request

Warmth: TypeAlias = Literal["model", "process", "none"]
"""What of a lease would be warm: the process with its model loaded, the process alone, or nothing."""


class LeaseActor(Request[Lease], frozen=True, kw_only=True):
    """An actor for one run; its process may still have to be started. To be given back by `ReturnActor`."""

    needs: ActorNeeds


class RejoinActor(Request[Lease], frozen=True, kw_only=True):
    """The actor that was reserved for `run`, for the rest of it. Raises WorkerLost if it has ended."""

    worker: str
    run: str


class ReturnActor(Request[None], frozen=True, kw_only=True):
    """A lease ends. `is_clean`: its run ended well, so that the actor may serve another one."""

    lease: Lease
    is_clean: bool


class ReserveActor(Request[None], frozen=True, kw_only=True):
    """Keep an adopted actor for `run`, before it has greeted. One that has ended cannot be kept."""

    worker: str
    run: str


class DropReserved(Request[None], frozen=True, kw_only=True):
    """No job takes `run` up: end the actor that is reserved for it, if it still is. Answered when it is gone."""

    worker: str
    run: str


class EndActors(Request[None], frozen=True, kw_only=True):
    """End every actor, whatever it does. Answered when they are gone."""


class FindWarm(Request[Warmth], frozen=True, kw_only=True):
    """What of a lease would be warm now."""

    needs: ActorNeeds


class Evict(Request[None], frozen=True, kw_only=True):
    """Time has passed, or an actor has become idle."""
