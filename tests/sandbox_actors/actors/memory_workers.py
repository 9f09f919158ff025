"""Worker processes that are none: what the pool sees of the operating system, kept in memory.

A worker greets the daemon when `greets` says so, exits when it is asked to, and ends when it is told to or is killed.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio
import trio.testing

from sandbox_actors.actors.code_digest import Code
from sandbox_actors.actors.component_actor import ActorNeeds
from sandbox_actors.actors.environments import ReadyEnv
from sandbox_actors.actors.pool import Pool
from sandbox_actors.actors.pool_messages import EndActors
from sandbox_actors.actors.worker_processes import Adoption
from sandbox_actors.actors.worker_records import WorkerRecord, digest_of
from sandbox_actors.errors import ActorStopped
from sandbox_actors.protocol.frames import PROTOCOL_VERSION, Ask, Hello, decode_frame
from sandbox_actors.protocol.worker_requests import ComponentRef, Exit, decode_worker_task
from sandbox_actors.system.child_process import ChildProcess, ExitStatus
from sandbox_actors.transport.gateway import Peer


def needs(model: str = "", *, label: str = "trainer", code: str = "1", keep_alive: float = 60.0) -> ActorNeeds:
    env = ReadyEnv("plain", "/envs/plain/bin/python", {})
    component = ComponentRef(target=f"module:{label}")
    return ActorNeeds(
        label=label,
        component=component,
        env=env,
        model_key=model,
        cpus=1,
        keep_alive=keep_alive,
        code=Code(digest=code),
    )


class MemoryChild(ChildProcess):
    """As much of a child process as the pool uses."""

    def __init__(self, name: str, pid: int) -> None:
        self.name, self.pid, self.output = name, pid, Path("/dev/null")
        self.exit_status: ExitStatus | None = None
        self.bytes = 1
        self.ended = trio.Event()

    def exit(self, status: int) -> None:
        if self.exit_status is None:
            self.exit_status = ExitStatus(status)
            self.ended.set()

    async def wait(self) -> ExitStatus:
        await self.ended.wait()
        assert self.exit_status is not None
        return self.exit_status

    async def end(self, grace: float = 0.0) -> ExitStatus:
        self.exit(-signal.SIGTERM)
        return await self.wait()

    def signal(self, number: signal.Signals) -> None:
        self.exit(-number)

    def has_ended(self) -> bool:
        return self.exit_status is not None

    def memory(self) -> int:
        return self.bytes

    def last_lines(self, count: int = 20) -> str:
        return "the last line"


class MemoryWire:
    """The connection of a worker that does what it is asked: exit."""

    origin = "memory"

    def __init__(self, child: MemoryChild) -> None:
        self._child = child

    def admit(self) -> None:
        return None

    def send(self, frame: bytes) -> None:
        asked = decode_frame(frame)
        if isinstance(asked, Ask) and isinstance(decode_worker_task(asked.body), Exit):
            self._child.exit(0)

    def cut(self) -> None:
        return None


class MemoryWorkers:
    """The twin of `SystemWorkers`. `left` are the workers of an earlier daemon."""

    def __init__(self, left: dict[str, ActorNeeds] | None = None) -> None:
        self.children: dict[str, MemoryChild] = {}
        self.forgotten: dict[str, trio.Event] = {}
        self.refusal: Exception | None = None
        self.greets: Callable[[str], bool] = lambda name: True
        self.may_start = trio.Event()
        self.may_start.set()
        self._left = left or {}

    async def start(
        self, nursery: trio.Nursery, name: str, needs: ActorNeeds, expect: Callable[[str], None]
    ) -> MemoryChild:
        await self.may_start.wait()
        if self.refusal is not None:
            raise self.refusal
        expect(digest_of(name))
        child = self.children[name] = MemoryChild(name, 1000 + len(self.children))
        if self.greets(name):
            nursery.start_soon(self._greet, name, child)
        return child

    async def _greet(self, name: str, child: MemoryChild) -> None:
        greet(self.pool, name, child)

    async def adopt(self, nursery: trio.Nursery) -> Adoption:
        workers: list[tuple[WorkerRecord, ChildProcess]] = []
        for number, (name, needs) in enumerate(self._left.items()):
            child = self.children[name] = MemoryChild(name, 500 + number)
            record = WorkerRecord(
                name=name,
                mark=name,
                pid=child.pid,
                started="",
                secret_digest=digest_of(name),
                output="",
                needs=needs,
            )
            workers.append((record, child))
        return Adoption(workers, max((record.number for record, _ in workers), default=0))

    async def forget(self, name: str) -> None:
        self.forgotten.setdefault(name, trio.Event()).set()

    async def wait_forgotten(self, name: str) -> None:
        """Wait until the process has ended and the pool knows nothing of it any more."""
        with trio.fail_after(5):
            await self.forgotten.setdefault(name, trio.Event()).wait()
        await trio.testing.wait_all_tasks_blocked()

    pool: Pool


def greet(pool: Pool, name: str, child: MemoryChild, run: str = "", model: str | None = None) -> None:
    """The worker says hello, as a gateway hands it on."""
    hello = Hello(
        protocol=PROTOCOL_VERSION, version="0", name=name, pid=child.pid, token=name, run=run, model_key=model
    )
    pool.admit(hello)
    pool.arrived(Peer(MemoryWire(child), hello))


@asynccontextmanager
async def pool_of(workers: MemoryWorkers) -> AsyncIterator[Pool]:
    """A pool that runs; at the end it is asked to end every process, and has to have done so."""
    pool = workers.pool = Pool(workers)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        try:
            yield pool
        finally:
            with suppress(ActorStopped):
                await pool.ask(EndActors())
            nursery.cancel_scope.cancel()
    assert all(workers.forgotten[name].is_set() for name in workers.children)
