"""sandbox-daemon: puts the parts together, serves in the foreground, and takes them apart again."""

from __future__ import annotations

import argparse
import fcntl
import math
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import trio

from sandbox_actors.actors import worker_bundle
from sandbox_actors.actors.environments import Environments
from sandbox_actors.actors.pool import GRACE, Pool
from sandbox_actors.actors.worker_records import WorkerRecords
from sandbox_actors.daemon.coordinator import RETRY_DELAY
from sandbox_actors.daemon.experiments import Experiments
from sandbox_actors.daemon.requests import ClientDesk, WorkerDesk
from sandbox_actors.errors import Refused, SandboxError
from sandbox_actors.jobs.capacity import Capacity, Gpus
from sandbox_actors.jobs.durable_runs import Holds, KeptRuns
from sandbox_actors.jobs.job_runner import Workshop
from sandbox_actors.jobs.run_folders import RunFolders
from sandbox_actors.store.store import open_store
from sandbox_actors.store.watcher import SandboxWatcher
from sandbox_actors.system.machine import this_machine
from sandbox_actors.system.paths import Paths, find_paths
from sandbox_actors.transport.base import Router
from sandbox_actors.transport.gateway import Gateway
from sandbox_actors.transport.keys import Keys
from sandbox_actors.transport.unix_router import open_router
from sandbox_actors.version import __version__

LISTEN_VARIABLE = "SANDBOX_LISTEN"

GRACE_VARIABLE = "SANDBOX_GRACE"
"""Seconds that a worker whose daemon was killed waits for the next one when it has nothing to do."""

RETRY_VARIABLE = "SANDBOX_RETRY_DELAY"
"""Seconds before the second attempt of a job, doubled for each further one."""


async def serve(paths: Paths, address: str = "") -> None:
    """Serve the home of `paths`, over TCP too where an `address` is given, until SIGTERM or SIGINT comes, or a client
    asks to stop. Raises SandboxError, or a group of them."""
    stop = _Stop()
    async with trio.open_nursery() as nursery:
        await nursery.start(stop.on_signals)
        await _serve_until(paths, address, stop)
        nursery.cancel_scope.cancel()


async def _serve_until(paths: Paths, address: str, stop: _Stop) -> None:
    async with (
        open_store(paths.store) as store,
        _open_elsewhere(address, Keys(paths.keys)) as elsewhere,
        open_router(paths.worker_socket) as workers,
        open_router(paths.socket, paths.home_socket) as clients,
        trio.open_nursery() as nursery,
    ):
        watcher = SandboxWatcher(store)
        grace, retry_delay = _seconds(GRACE_VARIABLE, GRACE), _seconds(RETRY_VARIABLE, RETRY_DELAY)
        records = WorkerRecords(paths.workers, paths.scratch)
        pool = Pool(
            paths.worker_socket, worker_bundle.lay_out(paths.home / "bundles"), paths.home / "logs", records, grace
        )
        environments = Environments(paths.envs, os.environ)
        machine = this_machine()
        capacity, gpus = Capacity(machine.cpus), Gpus(machine.gpus)
        kept = KeptRuns(RunFolders(paths.runs), pool, store, watcher, Holds(capacity, gpus))
        shop = Workshop(pool, capacity, gpus, environments, watcher, kept)
        experiments = Experiments(paths, store, shop, retry_delay)
        desk = ClientDesk(paths, store, shop, experiments, stop.request)
        for part in (pool, environments, experiments):
            await nursery.start(part.run)
        nursery.start_soon(Gateway(workers, pool.admit, WorkerDesk(shop).serve, pool.arrived).run)
        for router in (clients, *elsewhere):
            nursery.start_soon(Gateway(router, desk.admit, desk.serve, desk.arrived).run)
        _say(f"serves {paths.home} at {paths.socket}{f' and {address}' if address else ''}")
        await stop.wait_drained(experiments.drain)
        _say("stops")
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_elsewhere(address: str, keys: Keys) -> AsyncIterator[list[Router]]:
    """The router for clients elsewhere, where an address is given."""
    if not address:
        yield []
        return
    from sandbox_actors.transport.curve_router import (
        open_curve_router,  # brings libzmq in, which nothing else here needs
    )

    async with open_curve_router(address, keys) as router:
        yield [router]


class _Stop:
    """How the daemon is asked to end: `drain` first, where a client asked without `now`."""

    def __init__(self) -> None:
        self._asked, self._now = trio.Event(), trio.Event()

    def request(self, now: bool) -> None:
        self._asked.set()
        if now:
            self._now.set()

    async def on_signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                self.request(now=True)

    async def wait_drained(self, drain: Callable[[], Awaitable[None]]) -> None:
        """Wait until asked to stop, then for `drain` to end, or to be asked to stop now."""
        await self._asked.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_drained, drain, nursery.cancel_scope)
            await self._now.wait()
            nursery.cancel_scope.cancel()

    async def _until_drained(self, drain: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        await drain()
        scope.cancel()


@contextmanager
def only_daemon(paths: Paths) -> Iterator[None]:
    """Hold the home's lock: binding a socket would take it over from a daemon that serves there."""
    with paths.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise Refused(f"another daemon (pid {holder}) serves {paths.home} already") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _seconds(variable: str, default: float) -> float:
    """What an environment variable says, or `default`. Raises Refused for what is no number of seconds."""
    given = os.environ.get(variable) or default
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise Refused(f"{variable}={given} is no number of seconds")
    return seconds


def _raise_file_limit() -> None:
    """libzmq aborts the process when it can open no more files: have as many as are allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say(text: str) -> None:
    print(f"sandbox-daemon {__version__} (pid {os.getpid()}) {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="sandbox-daemon",
        description="Serves experiments in the foreground. SANDBOX_HOME and SANDBOX_SOCKET say where.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--listen",
        metavar="tcp://HOST:PORT",
        default=os.environ.get(LISTEN_VARIABLE, ""),
        help=f"serve clients elsewhere too, whose keys `sandbox daemon keys` lets in; default ${LISTEN_VARIABLE}",
    )
    options = parser.parse_args(arguments)
    status = 0
    try:
        paths = find_paths()
        paths.prepare()
        _raise_file_limit()
        with only_daemon(paths):
            paths.prepare_scratch()
            trio.run(serve, paths, options.listen)
            paths.tidy()
    except* SandboxError as group:
        for error in _leaves(group):
            print(f"sandbox-daemon: {error}", file=sys.stderr)
        status = 1
    return status


def _leaves(group: BaseExceptionGroup[SandboxError]) -> Iterator[SandboxError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(main())
