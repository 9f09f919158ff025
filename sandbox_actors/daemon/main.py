"""sandbox-daemon: puts the parts together, serves in the foreground, and takes them apart again."""

from __future__ import annotations

import argparse
import fcntl
import logging
import math
import os
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import trio

from sandbox_actors.actors import worker_bundle
from sandbox_actors.actors.environments import Environments
from sandbox_actors.actors.pool import Pool
from sandbox_actors.actors.worker_processes import GRACE, SystemWorkers
from sandbox_actors.actors.worker_records import WorkerRecords
from sandbox_actors.daemon.coordinator import RETRY_DELAY
from sandbox_actors.daemon.experiment_run import ExperimentRun
from sandbox_actors.daemon.experiments import Drain, Experiments
from sandbox_actors.daemon.forecasts import Forecasts
from sandbox_actors.daemon.requests import ClientRequests, WorkerRequests
from sandbox_actors.errors import Refused, SandboxError
from sandbox_actors.experiment.events import PastAttempt
from sandbox_actors.experiment.model import Experiment
from sandbox_actors.jobs.actor_request import ActorRequests
from sandbox_actors.jobs.capacity import Resources
from sandbox_actors.jobs.durable_runs import DurableRuns
from sandbox_actors.jobs.job_runner import JobRunner
from sandbox_actors.jobs.run_folders import RunFolders
from sandbox_actors.jobs.wandb_export import WandbExport
from sandbox_actors.protocol.rows import ExperimentRow
from sandbox_actors.store.store import Store, open_store
from sandbox_actors.store.watcher import SandboxWatcher
from sandbox_actors.system.machine import this_machine
from sandbox_actors.system.paths import Paths, find_paths
from sandbox_actors.transport.connection import Router
from sandbox_actors.transport.gateway import Gateway
from sandbox_actors.transport.keys import Keys
from sandbox_actors.transport.unix_router import open_router
from sandbox_actors.version import __version__

log = logging.getLogger("sandbox_actors.daemon")

LISTEN_VARIABLE = "SANDBOX_LISTEN"

GRACE_VARIABLE = "SANDBOX_GRACE"
"""Seconds that a worker whose daemon was killed waits for the next one when it has nothing to do."""

RETRY_VARIABLE = "SANDBOX_RETRY_DELAY"
"""Seconds before the second attempt of a job, doubled for each further one."""


DISK_LIMIT = 5.0
"""Seconds that a daemon which stops waits for its disk to record how its experiments have ended."""

STOP_LIMIT = 60.0
"""Seconds in which it has ended all workers and itself, also where a disk hangs: then it ends as if it were killed."""


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
        parts = _assemble(paths, store, stop)
        for actor in (parts.pool, parts.environments, parts.experiments):
            await nursery.start(actor.run)
        nursery.start_soon(Gateway(workers, parts.pool.admit, parts.of_workers.serve, parts.pool.arrived).run)
        of_clients = parts.of_clients
        for router in (clients, *elsewhere):
            nursery.start_soon(Gateway(router, of_clients.admit, of_clients.serve, of_clients.arrived).run)
        log.info("serves %s at %s%s", paths.home, paths.socket, f" and {address}" if address else "")
        await stop.wait_drained(lambda: parts.experiments.ask(Drain()))
        log.info("stops")
        end_after(STOP_LIMIT)
        store.stop_waiting(DISK_LIMIT)
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class _Parts:
    pool: Pool
    environments: Environments
    experiments: Experiments
    of_workers: WorkerRequests
    of_clients: ClientRequests


def _assemble(paths: Paths, store: Store, stop: _Stop) -> _Parts:
    """Everything that is made once, each with those it needs."""
    machine = this_machine()
    bundle, records = worker_bundle.lay_out(paths.home / "bundles"), WorkerRecords(paths.workers, paths.scratch)
    grace, retry_delay = _seconds(GRACE_VARIABLE, GRACE), _seconds(RETRY_VARIABLE, RETRY_DELAY)
    pool = Pool(SystemWorkers(paths.worker_socket, bundle, paths.home / "logs", records, grace))
    environments = Environments(paths.envs, dict(os.environ))
    resources = Resources(machine.cpus, machine.gpus)
    watcher = SandboxWatcher(store)
    runs = DurableRuns(RunFolders(paths.runs), pool, resources, store, watcher)
    export = WandbExport(pool, environments, runs)

    def make_runner(row: ExperimentRow, experiment: Experiment) -> JobRunner:
        requests = ActorRequests(environments, machine.cpus, experiment, row.cwd)
        folder = paths.experiments / row.id
        return JobRunner(
            row.id, row.cwd, folder, requests=requests, pool=pool, resources=resources, watcher=watcher, runs=runs
        )

    def make_run(row: ExperimentRow, interrupted: list[PastAttempt] | None) -> ExperimentRun:
        return ExperimentRun(
            row,
            interrupted,
            folder=paths.experiments / row.id,
            make_runner=make_runner,
            store=store,
            watcher=watcher,
            runs=runs,
            export=export,
            retry_delay=retry_delay,
        )

    experiments = Experiments(store, runs, make_run)
    forecasts = Forecasts(environments, pool, resources)
    clients = ClientRequests(paths, store, watcher, pool, experiments, forecasts, stop.request)
    return _Parts(pool, environments, experiments, WorkerRequests(watcher, runs), clients)


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


def end_after(seconds: float) -> None:
    """End this process when that time is over. A thread that is stuck in a system call cannot be cancelled."""

    def end() -> None:
        log.error("could not stop in good order within %g seconds; the next daemon continues as after a crash", seconds)
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


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
    """What an environment variable says, or `default`. Raises Refused for anything but a number of seconds."""
    given = os.environ.get(variable) or default
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise Refused(f"{variable}={given} must be a number of seconds")
    return seconds


def _raise_file_limit() -> None:
    """libzmq aborts the process when it can open no more files: have as many as are allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _set_up_log() -> None:
    """The daemon's log is its standard error: a line a record, with its time and level."""
    form = logging.Formatter(f"%(asctime)s %(levelname)s sandbox-daemon {__version__} (pid {os.getpid()}) %(message)s")
    handler = logging.StreamHandler()
    handler.setFormatter(form)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


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
    _set_up_log()
    status = 0
    try:
        paths = find_paths()
        paths.prepare()
        _raise_file_limit()
        with only_daemon(paths):
            paths.prepare_scratch()
            trio.run(serve, paths, options.listen)
            paths.remove_empty_folders()
    except* SandboxError as group:
        for error in _leaves(group):
            log.error("%s", error)
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
