"""Component actors: which are warm, which are leased, and which have to go.

A lease takes an idle actor that hosts the same component in the same env, best one that has the same model loaded,
and otherwise spawns one. Afterwards the actor stays, idle, until its keep-alive is over, until there are too many or
too large ones, or until a run fails in it: what a failed run left behind in its process is nobody's to build on.
"""

from __future__ import annotations

import itertools
import math
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
import trio

from sandbox_actors.code import UNKNOWN, Code
from sandbox_actors.environments import ReadyEnv
from sandbox_actors.errors import NotFound, ProtocolError, Refused, SandboxError, WorkerLost
from sandbox_actors.gateway import Peer
from sandbox_actors.kit import ENTRY
from sandbox_actors.messages import ComponentRef, Exit, Hello, WorkerRow
from sandbox_actors.process import Child, spawn

ARRIVAL_TIMEOUT = 60.0
"""Seconds in which a new worker has to greet the daemon. It takes a tenth of one; a machine under load more."""

LAST_WORDS = 0.05
"""Seconds in which what an ended process had sent before its end is still taken in."""

EXIT_GRACE = 5.0
"""Seconds that a worker has to unload and exit when it is asked to."""

MAX_IDLE = 48
"""Processes, log watchers among them: what they cost is memory, which has a limit of its own."""

MAX_IDLE_MEMORY = psutil.virtual_memory().total // 2
"""Bytes that idle actors may hold together."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a job needs of an actor. `model_key` names what its `load()` makes; `cpus`: its threads; `gpus`: those that
    it sees, None for all."""

    label: str
    component: ComponentRef
    env: ReadyEnv
    model_key: str
    cpus: int
    keep_alive: float
    code: Code = UNKNOWN
    gpus: tuple[str, ...] | None = None

    @property
    def origin(self) -> tuple[object, ...]:
        """Where its code comes from."""
        return (tuple(self.component.paths), self.env.python)

    @property
    def process_key(self) -> tuple[object, ...]:
        """Actors with equal keys can stand in for each other, but for the loaded model."""
        return (self.component.target, self.origin, self.code.digest, self.cpus, self.gpus)


@dataclass(eq=False)
class ComponentActor:
    """One worker process and the component in it.

    `warm_model` names what it has loaded: None before its first run, "" where the component loads nothing.
    """

    name: str
    wanted: Wanted
    child: Child
    peer: Peer | None = None
    state: str = "starting"
    warm_model: str | None = None
    job: str = ""
    runs: int = 0
    keep_alive: float = 0.0
    idle_since: float = field(default_factory=time.monotonic)
    rss: int = 0
    gone: trio.Event = field(default_factory=trio.Event)

    def row(self) -> WorkerRow:
        return WorkerRow(
            worker=self.name,
            pid=self.child.pid,
            component=self.wanted.label,
            env=self.wanted.env.name,
            state=self.state,
            model=self.warm_model or "",
            rss_bytes=self.child.memory(),
            runs=self.runs,
            idle_seconds=round(time.monotonic() - self.idle_since, 3) if self.state == "idle" else 0.0,
            keep_alive_seconds=None if math.isinf(self.keep_alive) else self.keep_alive,
            job=self.job,
        )


@dataclass(frozen=True)
class Lease:
    """An actor for one run. `warm` tells that neither its process nor its model had to be made for it.

    Whoever lets it load a model sets its `warm_model`.
    """

    actor: ComponentActor
    peer: Peer
    warm: bool


class Pool:
    """Owns every worker process. `run` is its life; `admit` and `arrived` are given to the worker gateway."""

    def __init__(self, socket: Path, kit: Path, logs: Path, scratch: Path) -> None:
        self._socket, self._kit, self._logs, self._scratch = socket, kit, logs, scratch
        self._actors: dict[str, ComponentActor] = {}
        self._tokens: dict[str, str] = {}
        self._arrivals: dict[str, trio.Event] = {}
        self._numbers = itertools.count(1)
        self._changed = trio.Event()

    # --- for the worker gateway ---

    def admit(self, hello: Hello) -> None:
        """Let in who knows the token of the worker it says it is. Raises ProtocolError."""
        if not secrets.compare_digest(self._tokens.get(hello.name, ""), hello.token) or not hello.token:
            raise ProtocolError(f"{hello.name} is not a worker that this daemon has started")

    def arrived(self, peer: Peer) -> None:
        del self._tokens[peer.name]
        self._actors[peer.name].peer = peer
        self._arrivals.pop(peer.name).set()

    # --- leases ---

    @asynccontextmanager
    async def lease(self, wanted: Wanted) -> AsyncIterator[Lease]:
        """An actor for one run. A block that ends with an error, or is cancelled, costs the actor its process."""
        for stale in outdated(self._idle(), wanted):
            self._send_away(stale)
        actor = self._idle_like(wanted)
        warm = actor is not None and actor.warm_model in ("", wanted.model_key)
        if actor is None:
            actor = await self._spawn(wanted)
        assert actor.peer is not None
        actor.state, actor.keep_alive = "running", wanted.keep_alive
        try:
            yield Lease(actor, actor.peer, warm)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._end(actor)
            raise
        self._settle(actor)

    def _idle_like(self, wanted: Wanted) -> ComponentActor | None:
        """The idle actor to use: with the same model if there is one, without any model, or none.

        One with another model is left as it is, since a new process keeps both warm; when that makes one too many,
        the least recently used goes.
        """
        same = [actor for actor in self._alike(wanted) if actor.warm_model in (wanted.model_key, "", None)]
        return max(same, key=lambda actor: (actor.warm_model is not None, actor.idle_since), default=None)

    def _settle(self, actor: ComponentActor) -> None:
        if actor.state != "running":
            return  # it ended, or was told to stop, while it ran
        actor.runs += 1
        actor.warm_model, actor.rss = actor.warm_model or "", actor.child.memory()
        actor.state, actor.job, actor.idle_since = "idle", "", time.monotonic()
        self._wake()

    def has_alike(self, wanted: Wanted) -> bool:
        """Whether an idle actor has the process for `wanted`, whatever model it has loaded."""
        return bool(self._alike(wanted))

    def has_warm(self, wanted: Wanted) -> bool:
        """Whether a lease would be warm now."""
        return any(actor.warm_model in ("", wanted.model_key) for actor in self._alike(wanted))

    def _alike(self, wanted: Wanted) -> list[ComponentActor]:
        return [actor for actor in self._idle() if actor.wanted.process_key == wanted.process_key]

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
        """Keep the workers, and send away the idle ones that are due. Cancelling it ends them all."""
        await self._clear(self._scratch)  # what the workers of a killed daemon left
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
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

    async def _spawn(self, wanted: Wanted) -> ComponentActor:
        name = f"{wanted.label}-{next(self._numbers)}"
        token = self._tokens[name] = secrets.token_hex(16)
        arrival = self._arrivals[name] = trio.Event()
        command = [wanted.env.python, "-I", "-u", "-X", "utf8", str(self._kit / ENTRY), str(self._socket), name]
        if not wanted.code.is_settled(time.time()):
            command.insert(1, "-B")
        scratch = self._scratch / name
        try:
            scratch.mkdir(mode=0o700, parents=True)
            environ = {**wanted.env.environ, **_cores_environ(wanted), "TMPDIR": str(scratch)}
            output = self._logs / f"{name}.log"
            output.unlink(missing_ok=True)
            child = await spawn(self._nursery, f"{name}.{token[:8]}", command, environ, output, token)
            actor = self._actors[name] = ComponentActor(name, wanted, child, keep_alive=wanted.keep_alive)
            self._nursery.start_soon(self._watch, actor)
            with trio.move_on_after(ARRIVAL_TIMEOUT):
                await arrival.wait()
        except BaseException:
            half_started = self._actors.get(name)
            with trio.CancelScope(shield=True):
                if half_started is None:
                    await self._clear(scratch)
                else:
                    await half_started.child.end(0)
                    await half_started.gone.wait()
            raise
        finally:
            self._tokens.pop(name, None)
            self._arrivals.pop(name, None)
        if actor.peer is None:
            ending = await child.end(0)
            raise WorkerLost(f"worker {name} {ending} before it had started\n{child.last_lines()}".rstrip())
        return actor

    async def _watch(self, actor: ComponentActor) -> None:
        """Wait for the end of an actor's process, then tell everyone who waits for an answer of it."""
        with trio.CancelScope(shield=True):  # cancelling the pool ends the child, and others wait for `gone`
            ending = await actor.child.wait()
            await trio.sleep(LAST_WORDS)
            await self._clear(self._scratch / actor.name)
        self._actors.pop(actor.name, None)
        actor.state = "ended"
        arrival = self._arrivals.get(actor.name)
        if arrival is not None:
            arrival.set()
        if actor.peer is not None:
            words = actor.child.last_lines()
            told = f"worker {actor.name} (pid {actor.child.pid}) {ending} without delivering a result"
            actor.peer.end(WorkerLost(f"{told}\n{words}".rstrip()))
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

    async def _ask_to_exit(self, peer: Peer) -> None:
        try:
            await peer.tell(Exit())
        except SandboxError:
            return  # it has ended by itself, which `gone` tells

    async def _clear(self, folder: Path) -> None:
        await trio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))

    def _wake(self) -> None:
        self._changed.set()


def outdated(idle: list[ComponentActor], wanted: Wanted) -> list[ComponentActor]:
    """The idle actors whose code has changed since they were started, as `wanted` tells: no job can use them again."""
    alike = [actor for actor in idle if actor.wanted.origin == wanted.origin]
    return [actor for actor in alike if actor.wanted.code.digest != wanted.code.digest]


def due(idle: list[ComponentActor], now: float, max_idle: int, max_memory: int) -> list[ComponentActor]:
    """Which idle actors have to go at time `now`: those over their keep-alive, then the least recently used until at
    most `max_idle` are left and they hold at most `max_memory` bytes."""
    expired = [actor for actor in idle if now - actor.idle_since >= actor.keep_alive]
    left = sorted((actor for actor in idle if actor not in expired), key=lambda actor: actor.idle_since)
    crowded = []
    while left and (len(left) > max_idle or sum(actor.rss for actor in left) > max_memory):
        crowded.append(left.pop(0))
    return expired + crowded


def _cores_environ(wanted: Wanted) -> dict[str, str]:
    gpus = {} if wanted.gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(wanted.gpus)}
    return {**_threads_environ(wanted.cpus), **gpus}


def _threads_environ(cpus: int) -> dict[str, str]:
    """As many threads as cpus, which wait without spinning: two spinning pools on two cores cost a factor of 10."""
    count = str(max(1, cpus))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
    return {**dict.fromkeys(names, count), "OMP_WAIT_POLICY": "PASSIVE"}
