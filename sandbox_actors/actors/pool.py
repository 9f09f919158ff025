"""The pool: which component actors are warm, which are leased, and which have to go.

Theory of operation. The pool is the actor that owns every worker process; what others hold is a lease.

- A lease takes an idle actor that hosts the same component in the same env, at best one that has the same model
  loaded, and otherwise a new one, which is entered before its process is started: two leases never get one actor.
  The decision is made in the inbox; starting the process, and ending one, are tasks of the pool, and who needs the
  result waits for an event of the actor (`started`, `gone`), not for the inbox.
- A lease ends in one of three ways. After a block that ended well the actor is idle, until its keep-alive is over,
  until there are too many or too large ones, or until its code has changed. A process in which a run failed is never
  reused: nothing is known of what the run left behind. And a holder that has to stop without knowing how its run ends
  leaves the actor in that run, reserved, until the run is rejoined or dropped (`jobs/durable_runs.py`).
- What the operating system reports (a greeting, the end of a process) is recorded where it is seen, not by way of the
  inbox, so that it is known before the next message is handled, and also while the pool stops.
- Only messages end processes. A pool that is cancelled, because something in the daemon has failed, lets go of them,
  as a daemon that is killed does: workers outlive it, and the next daemon's pool adopts them. Those without a run greet
  it and are warm as before. Those in a run are reserved until the job that takes the run up rejoins them, and ended if
  there is none.

Guaranteed: an actor has at most one lease; an actor of which a lease failed runs nothing more; a lease that is
cancelled while its process starts ends that process; `gone` is set once for every actor, whatever ended it.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import psutil
import trio

from sandbox_actors.actors.actor import Actor
from sandbox_actors.actors.component_actor import ActorNeeds, ComponentActor, Lease
from sandbox_actors.actors.eviction import IdleLimits, due, outdated
from sandbox_actors.actors.pool_messages import (
    DropReserved,
    EndActors,
    Evict,
    FindWarm,
    LeaseActor,
    RejoinActor,
    ReserveActor,
    ReturnActor,
    Warmth,
)
from sandbox_actors.actors.worker_processes import WorkerProcesses
from sandbox_actors.actors.worker_records import digest_of
from sandbox_actors.errors import ActorStopped, NotFound, ProtocolError, Refused, SandboxError, WorkerLost
from sandbox_actors.protocol.client_requests import ListWorkers, StopWorker
from sandbox_actors.protocol.frames import PROTOCOL_VERSION, Hello, Request
from sandbox_actors.protocol.rows import WorkerRow
from sandbox_actors.protocol.worker_requests import Exit
from sandbox_actors.system.limits import count_oom_kills
from sandbox_actors.transport.connection import PeerGone
from sandbox_actors.transport.gateway import Peer
from sandbox_actors.transport.promises import Promise

log = logging.getLogger(__name__)

ARRIVAL_TIMEOUT = 60.0
"""Seconds in which a new worker has to greet the daemon. It takes a tenth of one; a machine under load more."""

GREETING = 2.0
"""Seconds in which an adopted worker that is idle may greet the daemon, before a new one is started in its place."""

LAST_WORDS = 0.05
"""Seconds in which what an ended process had sent before its end is still taken in."""

EXIT_GRACE = 5.0
"""Seconds that a worker has to unload and exit when it is asked to."""

IDLE_LIMITS = IdleLimits(actors=256, log_watchers=16, memory=psutil.virtual_memory().total // 2)
"""What idle actors cost is memory. A log watcher serves any run of its component, so a few of them are enough."""


class Pool(Actor):
    """`run` is its life; `admit` and `arrived` are given to the worker gateway."""

    def __init__(self, processes: WorkerProcesses) -> None:
        super().__init__("pool")
        self._processes = processes
        self._actors: dict[str, ComponentActor] = {}
        self._numbers = itertools.count(1)
        self._changed = trio.Event()

    # --- leases ---

    @asynccontextmanager
    async def lease(self, needs: ActorNeeds) -> AsyncIterator[Lease]:
        """An actor for one run. A block that ends with an error, or is cancelled, costs the actor its process, unless
        the lease names a run that it is left in."""
        await self._wait_for_adopted(needs)
        async with self._leased(LeaseActor(needs=needs)) as lease:
            await lease.actor.wait_started()
            yield lease

    @asynccontextmanager
    async def rejoin(self, worker: str, run: str) -> AsyncIterator[Lease]:
        """The actor that was reserved, for the rest of its run; else as `lease`. Raises WorkerLost if it has ended."""
        async with self._leased(RejoinActor(worker=worker, run=run)) as lease:
            yield lease

    def is_reserved(self, worker: str, run: str) -> bool:
        """Whether `rejoin` would find the actor now."""
        actor = self._actors.get(worker)
        return actor is not None and actor.reserved_for == run

    @asynccontextmanager
    async def _leased(self, request: Request[Lease]) -> AsyncIterator[Lease]:
        with trio.CancelScope(shield=True):  # no message waits long here, and a lease that is not taken would be lost
            lease = await self.ask(request)
        actor = lease.actor
        is_clean = False
        try:
            yield lease
            is_clean = True
        finally:
            with trio.CancelScope(shield=True), suppress(ActorStopped):  # a pool that has stopped has let go of them
                await self.ask(ReturnActor(lease=lease, is_clean=is_clean))
                if not is_clean and not lease.left_in:
                    await actor.gone.wait()

    async def _wait_for_adopted(self, needs: ActorNeeds) -> None:
        """Let adopted actors that could be used greet the daemon, which those without a run do at once."""
        with trio.move_on_after(GREETING):
            for actor in [*self._actors.values()]:
                if actor.is_expected and actor.needs.process_key == needs.process_key:
                    await actor.greeted.wait()

    # --- for the worker gateway ---

    def admit(self, hello: Hello) -> None:
        """Admit a worker that knows its token. Raises ProtocolError."""
        actor = self._actors.get(hello.name)
        if actor is None or not secrets.compare_digest(actor.secret_digest, digest_of(hello.token)):
            raise ProtocolError(f"{hello.name} is not a worker that this daemon knows")

    def arrived(self, peer: Peer) -> None:
        actor = self._actors[peer.name]
        if actor.peer is not None:
            actor.peer.end(PeerGone(f"worker {peer.name} has greeted the daemon again"))
        actor.greet(peer)
        if actor.is_adopted:
            actor.warm_model = peer.hello.model_key
        if actor.is_expected:
            if peer.hello.run:
                self._send_away(actor)  # no job takes up the run that it is in
            else:
                self._settle(actor)

    # --- messages ---

    async def on_receive(self, message: Request[Any]) -> Any:
        match message:
            case LeaseActor(needs=needs):
                return self._lease(needs)
            case RejoinActor():
                return self._rejoin(message)
            case ReturnActor():
                self._take_back(message)
            case ReserveActor():
                self._reserve(message)
            case DropReserved():
                return self._drop(message)
            case EndActors():
                return self._end_all()
            case FindWarm(needs=needs):
                return self._warmth(needs)
            case ListWorkers():
                return [actor.row() for actor in self._actors.values() if actor.child is not None]
            case StopWorker():
                return self._stop(message)
            case Evict():
                for actor in due(self._idle(), time.monotonic(), IDLE_LIMITS):
                    self._send_away(actor)
        return None

    def _lease(self, needs: ActorNeeds) -> Lease:
        for stale in outdated(self._idle(), needs):
            self._send_away(stale)
        # One with another model is left as it is, since a new process keeps both warm; when that makes one too many,
        # the least recently used goes.
        same = [actor for actor in self._alike(needs) if actor.warm_model in (needs.model_key, "", None)]
        actor = max(same, key=lambda actor: (actor.warm_model is not None, actor.idle_since), default=None)
        warm = actor is not None and actor.warm_model is not None
        if actor is None:
            actor = ComponentActor(f"{needs.label}-{next(self._numbers)}", needs, needs.keep_alive)
            self._actors[actor.name] = actor
            self._nursery.start_soon(self._start, actor)
        else:
            self._use(actor)
        actor.keep_alive = needs.keep_alive
        return Lease(actor, warm)

    def _rejoin(self, request: RejoinActor) -> Lease:
        if not self.is_reserved(request.worker, request.run):
            raise WorkerLost(f"worker {request.worker} ended together with the daemon that had started it")
        actor = self._actors[request.worker]
        actor.reserved_for = ""
        self._use(actor)
        return Lease(actor, warm=True)

    def _use(self, actor: ComponentActor) -> None:
        actor.state, actor.oom_kills = "running", count_oom_kills()

    def _take_back(self, request: ReturnActor) -> None:
        actor = request.lease.actor
        if request.lease.left_in and actor.state == "running":
            actor.reserved_for = request.lease.left_in
        elif not request.is_clean:
            self._send_away(actor)
        elif actor.state == "running":  # else it ended, or is being stopped
            actor.runs += 1
            actor.warm_model = actor.warm_model or ""
            self._settle(actor)

    def _reserve(self, request: ReserveActor) -> None:
        actor = self._actors.get(request.worker)
        if actor is not None:
            actor.state, actor.job, actor.reserved_for = "running", request.run, request.run

    def _drop(self, request: DropReserved) -> Promise[None] | None:
        if not self.is_reserved(request.worker, request.run):
            return None
        actor = self._actors[request.worker]
        self._send_away(actor)
        return self._when_gone([actor], None)

    def _stop(self, request: StopWorker) -> Promise[WorkerRow]:
        """Raises NotFound, or Refused while it is in use, unless `force`."""
        actor = self._actors.get(request.worker)
        if actor is None or actor.child is None:
            raise NotFound(f"no worker is called {request.worker}: `sandbox ps` lists them")
        if actor.state == "running" and not request.force:
            raise Refused(f"{actor.name} runs {actor.job}: `sandbox cancel` its experiment, or stop it with --force")
        row = actor.row()
        self._send_away(actor)
        return self._when_gone([actor], row)

    def _end_all(self) -> Promise[None]:
        actors = list(self._actors.values())
        for actor in actors:
            self._send_away(actor)
        return self._when_gone(actors, None)

    def _when_gone(self, actors: Sequence[ComponentActor], answer: Any) -> Promise[Any]:
        promise = self.promise()

        async def wait() -> None:
            for actor in actors:
                await actor.gone.wait()
            promise.resolve(answer)

        self._nursery.start_soon(wait)
        return promise

    # --- what is warm ---

    def _warmth(self, needs: ActorNeeds) -> Warmth:
        alike = self._alike(needs)
        if any(actor.warm_model in ("", needs.model_key) for actor in alike):
            return "model"
        return "process" if alike else "none"

    def _alike(self, needs: ActorNeeds) -> list[ComponentActor]:
        """The idle actors that have the process for `needs`. One that was killed just now may count as idle still."""
        same = [actor for actor in self._idle() if actor.needs.process_key == needs.process_key]
        return [actor for actor in same if not actor.has_ended]

    def _idle(self) -> list[ComponentActor]:
        return [actor for actor in self._actors.values() if actor.state == "idle"]

    def _settle(self, actor: ComponentActor) -> None:
        """From now on the actor is idle."""
        actor.rss = actor.process.memory()
        actor.state, actor.job, actor.idle_since = "idle", "", time.monotonic()
        self._changed.set()

    # --- processes ---

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Adopt the workers that an earlier daemon has left, then serve. Cancelled, it lets go of its workers: they
        continue, for the next daemon to adopt. `EndActors` ends them."""
        async with trio.open_nursery() as self._nursery:
            await self._adopt()
            self._nursery.start_soon(self._evict)
            await super().run(task_status=task_status)

    async def _evict(self) -> None:
        """Have the idle actors looked at whenever one may be due."""
        while True:
            self._changed = trio.Event()
            self.notify(Evict())
            now = time.monotonic()
            next_due = min((actor.idle_since + actor.keep_alive - now for actor in self._idle()), default=60.0)
            with trio.move_on_after(min(max(next_due, 0.01), 60.0)):
                await self._changed.wait()

    async def _adopt(self) -> None:
        adopted = await self._processes.adopt(self._nursery)
        for record, child in adopted.workers:
            actor = ComponentActor(
                record.name, record.needs, record.needs.keep_alive, record.secret_digest, child, is_adopted=True
            )
            self._actors[actor.name] = actor
            actor.started.set()
            self._nursery.start_soon(self._watch, actor)
            self._nursery.start_soon(self._expect, actor, record.protocol)
        self._numbers = itertools.count(1 + adopted.last_number)

    async def _expect(self, actor: ComponentActor, protocol: int) -> None:
        """End an adopted actor that does not greet: one without a run has no reason not to."""
        if protocol != PROTOCOL_VERSION:
            text = "worker %s speaks protocol %d, this daemon %d: it ends after its run"
            log.warning(text, actor.name, protocol, PROTOCOL_VERSION)
        with trio.move_on_after(ARRIVAL_TIMEOUT):
            await actor.greeted.wait()
        if actor.state == "starting":
            self._send_away(actor)

    async def _start(self, actor: ComponentActor) -> None:
        """Start the process of a new actor and wait for its greeting. What goes wrong is raised by `wait_started`."""

        def expect(secret_digest: str) -> None:
            actor.secret_digest = secret_digest

        try:
            with actor.starting:
                actor.child = await self._processes.start(self._nursery, actor.name, actor.needs, expect)
                self._nursery.start_soon(self._watch, actor)
                with trio.move_on_after(ARRIVAL_TIMEOUT):
                    await actor.greeted.wait()
                if actor.peer is None:
                    ending = await actor.child.end(0)
                    last = actor.child.last_lines()
                    raise WorkerLost(f"worker {actor.name} {ending} before it had started\n{last}".rstrip())
                if actor.state == "starting":  # else it is being ended
                    self._use(actor)
        except Exception as error:
            actor.start_error = error
        finally:
            if actor.child is None:
                with trio.CancelScope(shield=True):
                    await self._processes.forget(actor.name)
                self._remove(actor)
            actor.started.set()

    async def _watch(self, actor: ComponentActor) -> None:
        """Wait for the end of an actor's process."""
        await actor.process.wait()
        await trio.sleep(LAST_WORDS)
        await self._processes.forget(actor.name)
        self._remove(actor)

    def _remove(self, actor: ComponentActor) -> None:
        """The actor has no process: answer everything that waits for it."""
        self._actors.pop(actor.name, None)
        actor.state = "ended"
        actor.greeted.set()
        if actor.peer is not None:
            actor.peer.end(WorkerLost(actor.last_words()))
        actor.gone.set()

    def _send_away(self, actor: ComponentActor) -> None:
        """End an actor: one that is idle is asked to exit, one that runs, or does not exit, is terminated."""
        if actor.state in ("stopping", "ended"):
            return
        is_idle = actor.state == "idle"
        actor.state = "stopping"
        self._nursery.start_soon(self._end, actor, is_idle)

    async def _end(self, actor: ComponentActor, is_idle: bool) -> None:
        actor.starting.cancel()
        await actor.started.wait()
        if is_idle and actor.peer is not None:
            await self._ask_to_exit(actor.peer)
            with trio.move_on_after(EXIT_GRACE):
                await actor.gone.wait()
        if actor.child is not None:
            await actor.child.end()

    async def _ask_to_exit(self, peer: Peer) -> None:
        with suppress(SandboxError):  # it has ended by itself, which sets `gone`
            await peer.tell(Exit())
