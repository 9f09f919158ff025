"""The daemon, from Python: `with Client() as client: client.wait(client.submit("sandbox.yaml"))`."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sandbox_actors.client.connection import Connection, listener
from sandbox_actors.client.launcher import start_daemon
from sandbox_actors.client.remote import find_remote, require_local
from sandbox_actors.errors import DaemonUnreachable
from sandbox_actors.protocol.client_requests import (
    CancelExperiment,
    Changed,
    Changes,
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
)
from sandbox_actors.protocol.rows import (
    DaemonStatus,
    ExperimentDetail,
    ExperimentRow,
    JobRow,
    MetricRow,
    PlannedJob,
    WorkerRow,
)
from sandbox_actors.system.paths import Paths, find_paths
from sandbox_actors.version import __version__

AUTOSTART_VARIABLE = "SANDBOX_AUTOSTART"

WAIT = 20.0
"""Seconds that one question for news stays open."""

HEEDED = "WANDB_"
"""Variables of the submitter that a run heeds begin so; a key among them is not sent, it would end up on disk."""


class Client:
    """Connected when made, and starts a daemon if none answers; a context manager. For one thread at a time.

    `experiment` is everywhere an id, a name (its newest), `@` for the newest of all, or `@~1` for the one before.
    Methods raise the errors of `sandbox_actors.errors`: what the daemon says, or DaemonUnreachable.
    """

    def __init__(self, paths: Paths | None = None, *, autostart: bool | None = None) -> None:
        """`autostart` None: unless SANDBOX_AUTOSTART=0. Without `paths`, SANDBOX_CONNECT may name a daemon elsewhere,
        which is never started from here."""
        self.paths = paths or find_paths()
        remote = None if paths else find_remote(self.paths.keys)
        self._may_start = remote is None and (_is_autostart_on(os.environ) if autostart is None else autostart)
        place = remote or self._listened_at()
        if self._may_start and place is None:
            start_daemon(self.paths)
        self._connection = Connection(place or self.paths.socket)
        if self._connection.daemon.version != __version__:
            self._meet_other_version(self._connection.daemon.version)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    # --- experiments ----------------------------------------------------------------------------------------------

    def submit(self, file: str | os.PathLike[str], overrides: Iterable[str] = ()) -> str:
        """Submit an experiment file, with `KEY=VALUE` overrides; its id. Raises ConfigError with all that is wrong."""
        # Imported here: most commands read no experiment file, and these take half of what a command takes to start.
        from sandbox_actors.experiment.model import freeze
        from sandbox_actors.experiment_file.load import load_experiment
        from sandbox_actors.hooks.catalogue import load_catalogue

        source = os.fspath(file)
        experiment = load_experiment(source, overrides, load_catalogue()).require()
        return self.submit_definition(freeze(experiment), source)

    def submit_definition(self, definition: Any, source: str = "") -> str:
        """Submit what `freeze` returned; its id. Relative paths in it are looked up from the current folder."""
        environ = {name: value for name, value in os.environ.items() if _is_heeded(name)}
        request = Submit(definition=definition, source=source, cwd=os.getcwd(), environ=environ)
        return self._connection.ask(request).experiment

    def forecast(self, definition: Any) -> list[PlannedJob]:
        """What `submit_definition` would run, job by job, and which of it would be warm; nothing is submitted."""
        return self._connection.ask(Forecast(definition=definition, cwd=os.getcwd()))

    def experiments(self, limit: int = 1000) -> list[ExperimentRow]:
        """Newest first."""
        return self._connection.ask(ListExperiments(limit=limit))

    def show(self, experiment: str = "@") -> ExperimentDetail:
        return self._connection.ask(Show(experiment=experiment))

    def follow(self, experiment: str = "@", interval: float = 0.1) -> Iterator[Changed]:
        """All that happened and happens in an experiment, in pieces `interval` seconds apart or more, to its end.

        When the daemon dies, the next one goes on with the experiment, and so does this.
        """
        after = after_progress = 0
        while True:
            asked = time.monotonic()
            request = Changes(experiment=experiment, after=after, after_progress=after_progress, wait=WAIT)
            try:
                changed = self._connection.ask(request)
            except DaemonUnreachable:
                if not self._meet_next_daemon():
                    raise
                after_progress = 0
                continue
            if changed.experiment is not None:
                experiment = changed.experiment.id  # `@` may mean another one by now
            yield changed
            if changed.finished:
                return
            after, after_progress = changed.next, changed.next_progress
            time.sleep(max(0.0, asked + interval - time.monotonic()))

    def wait(self, experiment: str = "@") -> ExperimentDetail:
        """What `show` gives once the experiment has ended, well or not: see `experiment.state` in it."""
        for changed in self.follow(experiment, interval=1.0):
            if changed.experiment is not None:
                experiment = changed.experiment.id
        return self.show(experiment)

    def cancel(self, experiment: str = "@") -> ExperimentRow:
        """Returns when the experiment has ended."""
        return self._connection.ask(CancelExperiment(experiment=experiment))

    def resume(self, experiment: str = "@") -> str:
        """Go on with an experiment that has ended, at the first job that has not succeeded; its id."""
        return self._connection.ask(ResumeExperiment(experiment=experiment)).experiment

    def metrics(self, experiment: str = "@", name: str = "") -> list[MetricRow]:
        """All points of a metric (`loss`, `train.loss`, `baseline.train.loss`), or of all, in the order they came."""
        rows: list[MetricRow] = []
        while True:
            after = rows[-1].seq if rows else 0
            page = self._connection.ask(ReadMetrics(experiment=experiment, name=name, after=after))
            if not page:
                return rows
            rows += page

    def read_log(self, experiment: str = "@", job: str = "", offset: int = 0, wait: float = 0.0) -> LogChunk:
        """What a job's log holds from byte `offset` on; waits up to `wait` seconds for there to be something."""
        return self._connection.ask(ReadLog(experiment=experiment, job=job, offset=offset, wait=wait))

    def log(self, experiment: str = "@", job: str = "", *, follow: bool = False) -> Iterator[bytes]:
        """The log of a job (`meta_name`, `pipeline.meta_name`, or the newest) in pieces; with `follow`, to its end."""
        job = job or newest_job(self.show(experiment).jobs)
        offset = 0
        while True:
            chunk = self.read_log(experiment, job, offset, WAIT if follow else 0.0)
            offset += len(chunk.data)
            if chunk.data:
                yield chunk.data
            elif chunk.finished or not follow:
                return

    # --- workers and the daemon -----------------------------------------------------------------------------------

    def workers(self) -> list[WorkerRow]:
        return self._connection.ask(ListWorkers())

    def stop_worker(self, worker: str, *, force: bool = False) -> WorkerRow:
        """Returns when its process is gone. A worker in use is refused unless `force`."""
        return self._connection.ask(StopWorker(worker=worker, force=force))

    def status(self) -> DaemonStatus:
        return self._connection.ask(GetStatus())

    def stop_daemon(self, *, now: bool = False) -> DaemonStatus:
        """Returns when the daemon's process is gone: after the jobs that run, or with `now` at once."""
        import psutil

        require_local("stopping a daemon")
        daemon = psutil.Process(self._connection.daemon.pid)
        status = self._connection.ask(StopDaemon(now=now))
        daemon.wait()
        return status

    def _meet_next_daemon(self) -> bool:
        """Connect to the successor of a daemon that has died, and start it where that is allowed.

        False where there is none: the daemon is stuck, or was stopped, which takes its socket away, or starting one is
        not allowed. Raises DaemonUnreachable where the next one cannot be started.
        """
        before, found = self._connection.pid, listener(self.paths.socket)
        if found == before:
            return False
        if found is None:
            if not self._may_start or not self.paths.socket.exists():
                return False
            start_daemon(self.paths)
        self._connection.close()
        self._connection = Connection(self.paths.socket)
        warnings.warn(
            f"the daemon (pid {before}) has died; the next one (pid {self._connection.pid}) goes on", stacklevel=3
        )
        return True

    def _listened_at(self) -> Path | None:
        """The socket of this machine's daemon, which may have been started where there was no login."""
        return next((path for path in (self.paths.socket, self.paths.home_socket) if listener(path) is not None), None)

    def _meet_other_version(self, version: str) -> None:
        """Start the daemon anew in this version, if that disturbs no experiment and is allowed; else say so."""
        if self._may_start and self.status().experiments == 0:
            self.stop_daemon()
            self._connection.close()
            start_daemon(self.paths)
            self._connection = Connection(self.paths.socket)
        else:
            warnings.warn(
                f"the daemon has version {version}, this client {__version__}; "
                "`sandbox daemon stop`, and the next command starts one of the same version",
                stacklevel=3,
            )


def newest_job(jobs: Iterable[JobRow]) -> str:
    """The `pipeline.meta_name` of the last job to start; empty if there is none."""
    started = [job for job in jobs if job.started is not None]
    last = max(started, key=lambda job: job.started or 0.0, default=None)
    return f"{last.pipeline}.{last.meta_name}" if last else ""


def _is_autostart_on(environ: Mapping[str, str]) -> bool:
    return environ.get(AUTOSTART_VARIABLE, "1").lower() not in ("0", "false", "no", "off")


def _is_heeded(name: str) -> bool:
    return name.startswith(HEEDED) and not name.endswith("_KEY")
