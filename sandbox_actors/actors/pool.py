"""Component actors: which are warm, which are leased, and which have to go.

A lease takes an idle actor that hosts the same component in the same env, best one that has the same model loaded,
and otherwise spawns one. Afterwards the actor stays, idle, until its keep-alive is over, until there are too many or
too large ones, or until a run fails in it: what a failed run left behind in its process is nobody's to build on.

Workers outlive a daemon that is killed. The next one adopts them: idle ones are warm as before, and those in a run are
kept for whoever takes the run up again.
"""

from __future__ import annotations

import itertools
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import trio

from sandbox_actors.actors.component_actor import ComponentActor, Lease, Wanted
from sandbox_actors.actors.eviction import due, outdated
from sandbox_actors.actors.worker_bundle import ENTRY
from sandbox_actors.actors.worker_records import WorkerRecord, WorkerRecords, digest_of
from sandbox_actors.errors import NotFound, ProtocolError, Refused, SandboxError, WorkerLost
from sandbox_actors.protocol.frames import PROTOCOL_VERSION, Hello
from sandbox_actors.protocol.rows import WorkerRow
from sandbox_actors.protocol.worker_requests import Exit
from sandbox_actors.system.child_process import adopt, spawn, started_at
from sandbox_actors.system.limits import limits_now, oom_kills, require_room
from sandbox_actors.transport.base import PeerGone
from sandbox_actors.transport.gateway import Peer

GRACE = 60.0
"""Seconds that a worker with nothing to do waits for the next daemon when this one has ended."""

ARRIVAL_TIMEOUT = 60.0
"""Seconds in which a new worker has to greet the daemon. It takes a tenth of one; a machine under load more."""

GREETING = 2.0
"""Seconds in which an adopted worker that is idle may greet the daemon, before a new one is started in its place."""

LAST_WORDS = 0.05
"""Seconds in which what an ended process had sent before its end is still taken in."""

EXIT_GRACE = 5.0
"""Seconds that a worker has to unload and exit when it is asked to."""

MAX_IDLE = 48
"""Processes, log watchers among them: what they cost is memory, which has a limit of its own."""

MAX_IDLE_MEMORY = psutil.virtual_memory().total // 2
"""Bytes that idle actors may hold together."""

_threads = trio.CapacityLimiter(4)


class Pool:
    """Owns every worker process. `run` is its life; `admit` and `arrived` are given to the worker gateway."""

    def __init__(self, socket: Path, bundle: Path, logs: Path, records: WorkerRecords, grace: float = GRACE) -> None:
        self._socket, self._bundle, self._logs, self._records, self._grace = socket, bundle, logs, records, grace
        self._actors: dict[str, ComponentActor] = {}
        self._numbers = itertools.count(1)
        self._changed = trio.Event()

    # --- for the worker gateway ---

    def admit(self, hello: Hello) -> None:
        """Let in who knows the token of the worker it says it is. Raises ProtocolError."""
        actor = self._actors.get(hello.name)
        if actor is None or not secrets.compare_digest(actor.secret_digest, digest_of(hello.token)):
            raise ProtocolError(f"{hello.name} is not a worker that this daemon knows")

    def arrived(self, peer: Peer) -> None:
        actor = self._actors[peer.name]
        if actor.peer is not None:
            actor.peer.end(PeerGone(f"worker {peer.name} has greeted the daemon anew"))
        actor.greet(peer)
        if actor.is_adopted:
            actor.warm_model = peer.hello.model_key
        if actor.is_expected:
            if peer.hello.run:
                self._nursery.start_soon(self._end, actor)  # the run that it is in has ended for everyone else
            else:
                self._settle(actor)

    # --- leases ---

    @asynccontextmanager
    async def lease(self, wanted: Wanted) -> AsyncIterator[Lease]:
        """An actor for one run. A block that ends with an error, or is cancelled, costs the actor its process."""
        await self._expect_alike(wanted)
        for stale in outdated(self._idle(), wanted):
            self._send_away(stale)
        actor = self._idle_like(wanted)
        warm = actor is not None and actor.warm_model in ("", wanted.model_key)
        if actor is None:
            actor = await self._spawn(wanted)
        actor.keep_alive = wanted.keep_alive
        async with self._in_use(actor):
            yield Lease(actor, warm)

    async def _expect_alike(self, wanted: Wanted) -> None:
        """Let adopted actors that could be used greet the daemon, which those without a run do at once."""
        with trio.move_on_after(GREETING):
            for actor in [*self._actors.values()]:
                if actor.is_expected and actor.wanted.process_key == wanted.process_key:
                    await actor.greeted.wait()

    def reserve(self, name: str, run: str) -> None:
        """Keep an adopted actor for `rejoin` or `drop`, before it has greeted; one that has ended is none."""
        actor = self._actors.get(name)
        if actor is not None:
            actor.state, actor.job, actor.reserved_for = "running", run, run

    def is_reserved(self, name: str, run: str) -> bool:
        actor = self._actors.get(name)
        return actor is not None and actor.reserved_for == run

    @asynccontextmanager
    async def rejoin(self, name: str, run: str) -> AsyncIterator[Lease]:
        """The actor that was reserved, for the rest of its run; else as `lease`. Raises WorkerLost if it has ended."""
        if not self.is_reserved(name, run):
            raise WorkerLost(f"worker {name} ended together with the daemon that had started it")
        actor = self._actors[name]
        actor.reserved_for = ""
        async with self._in_use(actor):
            yield Lease(actor, warm=True)

    @asynccontextmanager
    async def _in_use(self, actor: ComponentActor) -> AsyncIterator[None]:
        actor.state, actor.oom_kills = "running", oom_kills()
        try:
            yield
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._end(actor)
            raise
        if actor.state == "running":  # else it ended, or was told to stop, while it ran
            actor.runs += 1
            actor.warm_model = actor.warm_model or ""
            self._settle(actor)

    def _idle_like(self, wanted: Wanted) -> ComponentActor | None:
        """The idle actor to use: with the same model if there is one, without any model, or none.

        One with another model is left as it is, since a new process keeps both warm; when that makes one too many,
        the least recently used goes.
        """
        same = [actor for actor in self._alike(wanted) if actor.warm_model in (wanted.model_key, "", None)]
        return max(same, key=lambda actor: (actor.warm_model is not None, actor.idle_since), default=None)

    def _settle(self, actor: ComponentActor) -> None:
        """From now on the actor is idle."""
        actor.rss = actor.child.memory()
        actor.state, actor.job, actor.idle_since = "idle", "", time.monotonic()
        self._wake()

    def has_alike(self, wanted: Wanted) -> bool:
        """Whether an idle actor has the process for `wanted`, whatever model it has loaded."""
        return bool(self._alike(wanted))

    def has_warm(self, wanted: Wanted) -> bool:
        """Whether a lease would be warm now."""
        return any(actor.warm_model in ("", wanted.model_key) for actor in self._alike(wanted))

    def _alike(self, wanted: Wanted) -> list[ComponentActor]:
        """The idle actors that have the process for `wanted`. One that was killed just now may count as idle still."""
        same = [actor for actor in self._idle() if actor.wanted.process_key == wanted.process_key]
        return [actor for actor in same if not actor.child.has_ended()]

    # --- what the CLI shows and does ---

    def rows(self) -> list[WorkerRow]:
        return [actor.row() for actor in self._actors.values()]

    async def stop(self, name: str, force: bool) -> WorkerRow:
        """End one actor. Raises NotFound, or Refused while it is in use, unless `force`."""
        actor = self._actors.get(name)
        if actor is None:
            raise NotFound(f"no worker is called {name}: `sandbox ps` lists them")
        if actor.state == "running" and not force:
            raise Refused(f"{name} runs {actor.job}: `sandbox cancel` its experiment, or stop it with --force")
        row = actor.row()
        await self._end(actor)
        return row

    # --- processes ---

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Adopt the workers that a killed daemon has left, then keep all there are, and send away the idle ones that
        are due. Cancelling it ends them all."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._adopt()
            task_status.started()
            while True:
                self._changed = trio.Event()
                now = time.monotonic()
                idle = self._idle()
                for actor in due(idle, now, MAX_IDLE, MAX_IDLE_MEMORY):
                    self._send_away(actor)
                next_due = min((a.idle_since + a.keep_alive - now for a in idle if a.state == "idle"), default=60.0)
                with trio.move_on_after(min(max(next_due, 0.01), 60.0)):
                    await self._changed.wait()

    def _idle(self) -> list[ComponentActor]:
        return [actor for actor in self._actors.values() if actor.state == "idle"]

    def _send_away(self, actor: ComponentActor) -> None:
        actor.state = "stopping"
        self._nursery.start_soon(self._end, actor)

    async def _adopt(self) -> None:
        left = []
        records = await trio.to_thread.run_sync(self._records.read, limiter=_threads)
        for record in records:
            child = adopt(self._nursery, record.mark, record.pid, record.started, Path(record.output))
            if child is None:
                left.append(record)
                continue
            actor = self._actors[record.name] = ComponentActor(
                record.name, record.wanted, child, record.secret_digest, record.wanted.keep_alive, is_adopted=True
            )
            self._nursery.start_soon(self._watch, actor)
            self._nursery.start_soon(self._expect, actor, record.protocol)
        await trio.to_thread.run_sync(self._records.clear, left, set(self._actors), limiter=_threads)
        self._numbers = itertools.count(1 + max((record.number for record in records), default=0))

    async def _expect(self, actor: ComponentActor, protocol: int) -> None:
        """End an adopted actor that does not greet: one without a run has no reason not to."""
        if protocol != PROTOCOL_VERSION:
            say = (
                f"worker {actor.name} speaks protocol {protocol}, this daemon {PROTOCOL_VERSION}: it ends after its run"
            )
            print(say, file=sys.stderr, flush=True)
        with trio.move_on_after(ARRIVAL_TIMEOUT):
            await actor.greeted.wait()
        if actor.state == "starting":
            self._send_away(actor)

    async def _spawn(self, wanted: Wanted) -> ComponentActor:
        name = f"{wanted.label}-{next(self._numbers)}"
        token = secrets.token_hex(16)
        mark, output = f"{name}.{token[:8]}", self._logs / f"{name}.log"
        command = [wanted.env.python, "-I", "-u", "-X", "utf8", str(self._bundle / ENTRY)]
        command += [str(self._socket), name, f"{self._grace:g}"]
        if not wanted.code.is_settled(time.time()):
            command.insert(1, "-B")
        actor: ComponentActor | None = None

        def note(pid: int) -> None:
            started = started_at(pid)
            self._records.write(
                WorkerRecord(
                    name=name,
                    mark=mark,
                    pid=pid,
                    started=started,
                    secret_digest=digest_of(token),
                    output=str(output),
                    wanted=wanted,
                )
            )

        await trio.to_thread.run_sync(lambda: require_room(limits_now()), limiter=_threads)
        try:
            scratch = self._records.scratch_of(name)
            scratch.mkdir(mode=0o700, parents=True)
            output.unlink(missing_ok=True)
            environ = {**wanted.environ(), "TMPDIR": str(scratch)}
            child = await spawn(self._nursery, mark, command, environ, output, token, note)
            actor = ComponentActor(name, wanted, child, digest_of(token), wanted.keep_alive)
            self._actors[name] = actor
            greeted = actor.greeted
            self._nursery.start_soon(self._watch, actor)
            with trio.move_on_after(ARRIVAL_TIMEOUT):
                await greeted.wait()
        except BaseException:
            with trio.CancelScope(shield=True):
                if actor is None:
                    await trio.to_thread.run_sync(self._records.remove, name, limiter=_threads)
                else:
                    await actor.child.end(0)
                    await actor.gone.wait()
            raise
        if actor.peer is None:
            ending = await child.end(0)
            raise WorkerLost(f"worker {name} {ending} before it had started\n{child.last_lines()}".rstrip())
        return actor

    async def _watch(self, actor: ComponentActor) -> None:
        """Wait for the end of an actor's process, then tell everyone who waits for an answer of it."""
        with trio.CancelScope(shield=True):  # cancelling the pool ends the child, and others wait for `gone`
            await actor.child.wait()
            await trio.sleep(LAST_WORDS)
            await trio.to_thread.run_sync(self._records.remove, actor.name, limiter=_threads)
        self._actors.pop(actor.name, None)
        actor.state = "ended"
        actor.greeted.set()
        if actor.peer is not None:
            actor.peer.end(WorkerLost(actor.last_words()))
        actor.gone.set()
        self._wake()

    async def _end(self, actor: ComponentActor) -> None:
        """Ask an idle actor to exit; terminate one that runs, or does not exit. Returns when the process is gone."""
        is_idle = actor.state in ("idle", "stopping")
        actor.state = "stopping"
        if is_idle and actor.peer is not None:
            await self._ask_to_exit(actor.peer)
            with trio.move_on_after(EXIT_GRACE):
                await actor.gone.wait()
        await actor.child.end()
        await actor.gone.wait()

    async def drop(self, name: str, run: str) -> None:
        """End an actor that is reserved still: nobody takes its run up."""
        if self.is_reserved(name, run):
            await self._end(self._actors[name])

    async def _ask_to_exit(self, peer: Peer) -> None:
        try:
            await peer.tell(Exit())
        except SandboxError:
            return  # it has ended by itself, which `gone` tells

    def _wake(self) -> None:
        self._changed.set()
