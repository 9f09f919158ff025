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
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import trio

from sandbox_actors.actors import worker_bundle
from sandbox_actors.actors.environments import Environments
from sandbox_actors.actors.pool import Pool
from sandbox_actors.actors.pool_messages import EndActors
from sandbox_actors.actors.worker_processes import GRACE, SystemWorkers
from sandbox_actors.actors.worker_records import WorkerRecords
from sandbox_actors.daemon.coordinator import RETRY_DELAY
from sandbox_actors.daemon.crashes import crash, refuse_crash_loop
from sandbox_actors.daemon.experiment_run import ExperimentRun
from sandbox_actors.daemon.experiments import Drain, Experiments
from sandbox_actors.daemon.forecasts import Forecasts
from sandbox_actors.daemon.requests import ClientRequests, WorkerRequests
from sandbox_actors.errors import Refused, SandboxError, leaves
from sandbox_actors.experiment.model import Experiment
from sandbox_actors.files import own_file
from sandbox_actors.jobs.actor_request import ActorRequests
from sandbox_actors.jobs.capacity import Resources
from sandbox_actors.jobs.durable_runs import DurableRuns
from sandbox_actors.jobs.job_runner import JobRunner
from sandbox_actors.jobs.run_folders import RunFolders
from sandbox_actors.jobs.wandb_export import WandbExport
from sandbox_actors.protocol.rows import ExperimentRow
from sandbox_actors.store.store import Store, open_store
from sandbox_actors.store.watcher import SandboxWatcher
from sandbox_actors.system.files_in_use import FilesInUse
from sandbox_actors.system.machine import this_machine
from sandbox_actors.system.paths import Paths, find_paths
from sandbox_actors.system.standard_files import open_standard_files
from sandbox_actors.transport.curve_port import CurvePort
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
        open_router(paths.worker_socket, home=paths.home) as workers,
        open_router(paths.socket, paths.home_socket, home=paths.home) as clients,
        trio.open_nursery() as below,
    ):
        parts = _assemble(paths, store, stop)
        for actor in (parts.pool, parts.environments):
            await below.start(_part, paths, actor.run)
        async with trio.open_nursery() as above:
            await above.start(_part, paths, parts.experiments.run)
            # Only now, when the runs that are taken up are known; and until the last worker has been asked to exit.
            of_workers = Gateway(workers, parts.pool.admit, parts.of_workers.serve, parts.pool.arrived)
            await below.start(_part, paths, of_workers.run)
            requests = parts.of_clients
            of_clients = Gateway(clients, requests.admit, requests.serve, requests.arrived)
            await above.start(_part, paths, of_clients.run)
            if address:
                await above.start(_part, paths, CurvePort(address, Keys(paths.keys), paths.home_socket).run)
            log.info("serves %s at %s%s", paths.home, paths.socket, f" and {address}" if address else "")
            await above.start(_part, paths, partial(_end_with_home, parts.files, stop))
            await stop.wait_drained(lambda: parts.experiments.ask(Drain()))
            log.info("stops")
            end_after(STOP_LIMIT)
            store.stop_waiting(DISK_LIMIT)
            above.cancel_scope.cancel()
        of_late_clients = Gateway(clients, requests.refuse, requests.serve, requests.arrived)
        await below.start(_part, paths, of_late_clients.run)
        await parts.experiments.cut_off()
        await parts.pool.ask(EndActors())
        below.cancel_scope.cancel()


async def _part(
    paths: Paths,
    run: Callable[..., Awaitable[None]],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a part of the daemon that must not end by itself. An error ends the daemon at once, without taking its other
    parts apart: for its workers and clients that is a daemon which was killed, and the next one adopts them."""
    try:
        await run(task_status=task_status)
    except Exception as error:
        crash(paths.crashes, error)


async def _end_with_home(
    files: FilesInUse, stop: _Stop, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Without its home, a daemon would lose what it records, and no command would find it."""
    task_status.started()
    gone = await files.wait_until_gone()
    log.error("%s was removed or replaced, so this daemon ends; the next command starts another one", gone)
    stop.request(now=True)


@dataclass(frozen=True)
class _Parts:
    pool: Pool
    environments: Environments
    experiments: Experiments
    of_workers: WorkerRequests
    of_clients: ClientRequests
    files: FilesInUse


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

    def make_run(row: ExperimentRow, is_continued: bool) -> ExperimentRun:
        return ExperimentRun(
            row,
            is_continued,
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
    files = FilesInUse((paths.lock, paths.store))
    clients = ClientRequests(paths, files, store, watcher, pool, experiments, forecasts, stop.request)
    return _Parts(pool, environments, experiments, WorkerRequests(watcher, runs), clients, files)


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
    with open(paths.lock, "a+", opener=own_file) as lock:
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
    """As many as are allowed, for the process of the TCP port too: libzmq aborts it when it can open no more files."""
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
    open_standard_files()
    options = parser.parse_args(arguments)
    _set_up_log()
    status = 0
    try:
        paths = find_paths()
        paths.prepare()
        _raise_file_limit()
        with only_daemon(paths):
            refuse_crash_loop(paths.crashes)
            paths.prepare_scratch()
            trio.run(serve, paths, options.listen)
            paths.remove_empty_folders()
    except* SandboxError as group:
        for error in leaves(group):
            log.error("%s", error)
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
