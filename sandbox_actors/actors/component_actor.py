"""One component actor: a worker process, the component in it, and what a job needs of such a one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import trio

from sandbox_actors.actors.code_digest import UNKNOWN, Code
from sandbox_actors.actors.environments import ReadyEnv
from sandbox_actors.errors import WorkerLost
from sandbox_actors.protocol.frames import Answer, Request
from sandbox_actors.protocol.rows import WorkerRow, WorkerState
from sandbox_actors.protocol.worker_requests import ComponentRef
from sandbox_actors.system.child_process import ChildProcess
from sandbox_actors.system.limits import count_oom_kills, memory_limit, was_oom_killed
from sandbox_actors.transport.connection import PeerGone
from sandbox_actors.transport.gateway import Peer

PROCESS_END_DELAY = 5.0
"""Seconds between the end of a connection and that of its process, with all that this one has started."""


@dataclass(frozen=True, kw_only=True)
class ActorNeeds:
    """What a job needs of an actor. `model_key` names what its `load()` makes; `cpus`: its threads; `gpus`: those that
    it sees, None for all; `keep_alive`: the seconds that it stays warm afterwards. `is_log_watcher`: it follows the log
    of a run of the component."""

    label: str
    component: ComponentRef
    env: ReadyEnv
    model_key: str
    cpus: int
    keep_alive: float
    code: Code = UNKNOWN
    gpus: tuple[str, ...] | None = None
    is_log_watcher: bool = False

    @property
    def origin(self) -> tuple[object, ...]:
        """Where its code comes from."""
        return (tuple(self.component.paths), self.env.python)

    @property
    def process_key(self) -> tuple[object, ...]:
        """Actors with equal keys can stand in for each other, but for the loaded model."""
        return (self.component.target, self.origin, self.code.digest, self.cpus, self.gpus)

    def environ(self) -> Mapping[str, str]:
        """The environment variables of its process: those of its env, and the cpus and gpus that it may use."""
        gpus = {} if self.gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}
        return {**self.env.environ, **_threads_environ(self.cpus), **gpus}


def _threads_environ(cpus: int) -> dict[str, str]:
    """As many threads as cpus, which wait without spinning: two spinning pools on two cores cost a factor of 10."""
    count = str(max(1, cpus))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
    return {**dict.fromkeys(names, count), "OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(eq=False)
class ComponentActor:
    """One worker process and the component in it, as the pool knows it.

    It is made before its process is: `child` is None until that has been started, and `started` is set when it has
    greeted the daemon, or cannot be started for the reason in `start_error`. `gone` is set when the process has ended.

    `warm_model` names what it has loaded: None before its first run, "" where the component loads nothing.
    `secret_digest` is of the token by which the worker is known. `reserved_for` names the run that it was adopted in,
    and that is not taken up yet. `oom_kills` is how many processes of the machine the kernel's OOM killer had ended
    when its run began.
    """

    name: str
    needs: ActorNeeds
    keep_alive: float
    secret_digest: str = ""
    child: ChildProcess | None = None
    is_adopted: bool = False
    reserved_for: str = ""
    peer: Peer | None = None
    state: WorkerState = "starting"
    warm_model: str | None = None
    job: str = ""
    runs: int = 0
    idle_since: float = field(default_factory=time.monotonic)
    rss: int = 0
    oom_kills: int = field(default_factory=count_oom_kills)
    starting: trio.CancelScope = field(default_factory=trio.CancelScope)
    start_error: Exception | None = None
    started: trio.Event = field(default_factory=trio.Event)
    greeted: trio.Event = field(default_factory=trio.Event)
    gone: trio.Event = field(default_factory=trio.Event)

    @property
    def process(self) -> ChildProcess:
        """Of an actor that was started."""
        assert self.child is not None
        return self.child

    @property
    def has_ended(self) -> bool:
        """Whether its process has, also where the pool has yet to learn of it."""
        return self.child is not None and self.child.has_ended()

    @property
    def is_expected(self) -> bool:
        """Whether it was adopted and has yet to greet, without a run that would keep it from it."""
        return self.is_adopted and self.state == "starting"

    async def wait_started(self) -> None:
        """Raises what kept its process from being started."""
        await self.started.wait()
        if self.start_error is not None:
            raise self.start_error

    def greet(self, peer: Peer) -> None:
        """The process has greeted the daemon, as it does again when it believes that its greeting was lost."""
        self.peer, greeted, self.greeted = peer, self.greeted, trio.Event()
        greeted.set()

    async def peer_after(self, old: Peer | None) -> Peer:
        """The process as a peer, when it has greeted, and not as `old`. Raises WorkerLost where it ends before."""
        while self.peer is None or self.peer is old:
            if self.state == "ended":
                raise WorkerLost(self.last_words())
            await self.greeted.wait()
        return self.peer

    def last_words(self) -> str:
        """How its process has ended, and what it wrote last."""
        ending = self.process.exit_status
        why = str(ending)
        if ending is not None and was_oom_killed(ending.status, self.oom_kills):
            why += f" by the kernel's OOM killer (the memory limit here is {memory_limit() / 1024**2:,.0f} MiB)"
        text = f"worker {self.name} (pid {self.process.pid}) {why} without delivering a result"
        return f"{text}\n{self.process.last_lines()}".rstrip()

    def row(self) -> WorkerRow:
        return WorkerRow(
            worker=self.name,
            pid=self.process.pid,
            component=self.needs.label,
            env=self.needs.env.name,
            state=self.state,
            model=self.warm_model or "",
            rss_bytes=self.process.memory(),
            runs=self.runs,
            idle_seconds=round(time.monotonic() - self.idle_since, 3) if self.state == "idle" else 0.0,
            keep_alive_seconds=None if math.isinf(self.keep_alive) else self.keep_alive,
            job=self.job,
        )


@dataclass
class Lease:
    """An actor for one run. `warm`: neither its process nor its model had to be made for it.

    The holder of the lease sets `warm_model` when it has let the actor load a model, and `left_in` to the run in which
    it leaves the actor, to be rejoined: otherwise an actor whose lease ends with an error is ended.
    """

    actor: ComponentActor
    warm: bool
    left_in: str = ""

    @property
    def peer(self) -> Peer:
        """Of an actor that has greeted the daemon, which an adopted one may not have done yet."""
        assert self.actor.peer is not None
        return self.actor.peer

    async def ask(self, request: Request[Answer]) -> Answer:
        """Ask the actor. Raises ComponentFailed with the remote traceback, or WorkerLost where its process has ended,
        also where the connection ends before the process does."""
        try:
            return await self.peer.ask(request)
        except PeerGone:
            with trio.move_on_after(PROCESS_END_DELAY):
                await self.actor.gone.wait()
                raise WorkerLost(self.actor.last_words()) from None
            raise
