"""What clients and workers ask, answered: by the actor that owns it, or from the store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, assert_never

import msgspec
import trio

from sandbox_actors.actors.pool import Pool
from sandbox_actors.daemon.experiments import Experiments
from sandbox_actors.daemon.forecasts import Forecasts
from sandbox_actors.errors import DaemonEnds, ProtocolError, StoreError
from sandbox_actors.jobs.durable_runs import DurableRuns
from sandbox_actors.protocol.client_requests import (
    CancelExperiment,
    Changed,
    Changes,
    ClientRequest,
    Forecast,
    GetStatus,
    ListExperiments,
    ListWorkers,
    LogChunk,
    ReadLog,
    ReadMetrics,
    ResumeExperiment,
    Show,
    StopDaemon,
    StopWorker,
    Submit,
    decode_client_request,
)
from sandbox_actors.protocol.frames import Hello
from sandbox_actors.protocol.rows import (
    ENDED,
    DaemonStatus,
)
from sandbox_actors.protocol.worker_requests import Pull, Query, Report, TakeIn, decode_worker_request
from sandbox_actors.store.store import Position, Store
from sandbox_actors.store.watcher import SandboxWatcher
from sandbox_actors.system.files_in_use import FilesInUse
from sandbox_actors.system.paths import Paths
from sandbox_actors.transport.decode_limit import check_decoded_size
from sandbox_actors.transport.gateway import Peer
from sandbox_actors.version import __version__

T = TypeVar("T")

LOG_CHUNK = 1024 * 1024
"""Bytes of a log in one answer."""

LOG_POLL = 0.05
"""Seconds between two looks at a log that a client follows."""

_threads = trio.CapacityLimiter(8)
"""For reading logs alone: those on a disk that hangs hold up no spawning."""


class ClientRequests:
    """Answers clients. `stop` is called with `now` when one asks the daemon to stop."""

    def __init__(
        self,
        paths: Paths,
        files: FilesInUse,
        store: Store,
        watcher: SandboxWatcher,
        pool: Pool,
        experiments: Experiments,
        forecasts: Forecasts,
        stop: Callable[[bool], None],
    ) -> None:
        self._paths, self._files, self._store, self._watcher, self._pool = paths, files, store, watcher, pool
        self._experiments, self._forecasts, self._stop = experiments, forecasts, stop
        self._started = time.time()

    def admit(self, hello: Hello) -> None:
        """A client that reaches the socket belongs to its owner: the router has checked the peer's uid.

        Raises DaemonEnds: what the client asks would be lost with the store.
        """
        if gone := self._files.find_gone():
            raise DaemonEnds(f"{gone} was removed, and the daemon (pid {os.getpid()}) ends; run the command again")

    def refuse(self, hello: Hello) -> None:
        """In place of `admit`, while the daemon ends. Raises DaemonEnds."""
        self.admit(hello)
        raise DaemonEnds(f"the daemon (pid {os.getpid()}) ends; run the command again")

    def arrived(self, peer: Peer) -> None:
        """Nothing is recorded about clients: each of their asks stands for itself."""

    async def serve(self, peer: Peer, body: msgspec.Raw) -> object:
        check_decoded_size(memoryview(body))
        request = decoded(decode_client_request, body)
        try:
            with self._store.promptly():
                return await self._answer(request)
        except StoreError:
            if isinstance(request, Changes) and request.wait:  # a follower waits for the disk as its experiment does
                return await self._changes(request)
            raise

    async def _answer(self, request: ClientRequest) -> object:
        match request:
            case Submit() | ResumeExperiment() | CancelExperiment():
                return await self._experiments.ask(request)
            case ListWorkers() | StopWorker():
                return await self._pool.ask(request)
            case Forecast():
                return await self._forecasts.forecast(request.definition, request.cwd)
            case ListExperiments():
                return await self._store.list_experiments(request.limit, request.before)
            case Show():
                return await self._store.experiment_detail(await self._id(request.experiment), request.after)
            case Changes():
                return await self._changes(request)
            case ReadLog():
                return await self._read_log(request)
            case ReadMetrics():
                id = await self._id(request.experiment)
                return await self._store.metrics(id, request.name, request.after, request.limit)
            case GetStatus():
                return await self._status()
            case StopDaemon():
                return await self._stop_daemon(request)
            case _:
                assert_never(request)

    async def _changes(self, request: Changes) -> Changed:
        id = await self._id(request.experiment)
        return await self._watcher.changes(id, request.after, request.after_progress, request.wait)

    async def _status(self) -> DaemonStatus:
        return DaemonStatus(
            pid=os.getpid(),
            socket=str(self._paths.socket),
            home=str(self._paths.home),
            version=__version__,
            uptime_seconds=round(time.time() - self._started, 3),
            workers=len(await self._pool.ask(ListWorkers())),
            experiments=self._experiments.unfinished,
            trouble=self._store.trouble,
        )

    async def _stop_daemon(self, request: StopDaemon) -> DaemonStatus:
        status = await self._status()
        self._experiments.close()
        self._stop(request.now)
        return status

    async def _read_log(self, request: ReadLog) -> LogChunk:
        id = await self._id(request.experiment)
        deadline = trio.current_time() + request.wait
        while True:
            job = await self._store.find_job(id, request.job)
            is_over = job.state in ENDED
            data = await trio.to_thread.run_sync(
                _read_from, job.log, request.offset, limiter=_threads, abandon_on_cancel=True
            )
            if data or is_over or trio.current_time() >= deadline:
                return LogChunk(data=data, offset=request.offset, path=job.log, finished=is_over and not data)
            await trio.sleep(LOG_POLL)

    async def _id(self, wanted: str) -> str:
        return (await self._store.find_experiment(wanted)).id


class WorkerRequests:
    """Answers workers: what they report goes to the watcher, under the job that their run belongs to."""

    def __init__(self, watcher: SandboxWatcher, runs: DurableRuns) -> None:
        self._watcher, self._runs = watcher, runs

    async def serve(self, peer: Peer, body: msgspec.Raw) -> object:
        request = decoded(decode_worker_request, body)
        place = self._runs.place_of(request.run)
        match request:
            case Report():
                position = Position(request.run, request.source, request.position)
                await self._watcher.watch_points(place, request.points, position)
                if request.progress is not None:
                    self._watcher.show_progress(place, request.progress)
            case TakeIn():
                await self._runs.take_in(request.run, place)
            case Query():
                return await self._watcher.query(place.experiment, request.name)
            case Pull():
                return await self._watcher.pull(place.experiment, request.after, request.wait)
            case _:
                assert_never(request)
        return None


def decoded(decode: Callable[[bytes], T], body: msgspec.Raw) -> T:
    """A request from the bytes of an ask. Raises ProtocolError."""
    try:
        return decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a request of this protocol: {error}") from error


def _read_from(path: str, offset: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            file.seek(offset)
            return file.read(LOG_CHUNK)
    except (FileNotFoundError, IsADirectoryError):
        return b""  # the job has not started
