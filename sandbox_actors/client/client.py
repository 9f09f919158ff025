"""The Python client: `with Client() as client: client.wait(client.submit("sandbox.yaml"))`."""

from __future__ import annotations

import math
import os
import secrets
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from sandbox_actors.client.connection import Connection, listener
from sandbox_actors.client.launcher import POLL, start_daemon
from sandbox_actors.client.remote import Remote, find_remote, require_local
from sandbox_actors.errors import ActorStopped, DaemonEnds, DaemonUnreachable, Refused, SandboxError
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
    Iteration,
    JobRow,
    MetricRow,
    PlannedJob,
    WorkerRow,
)
from sandbox_actors.protocol.secrets import refuse_secrets
from sandbox_actors.protocol.texts import bounded
from sandbox_actors.system.crash_record import recent_crashes
from sandbox_actors.system.paths import Paths, find_paths
from sandbox_actors.version import __version__

AUTOSTART_VARIABLE = "SANDBOX_AUTOSTART"

WAIT = 20.0
"""Seconds that the daemon may hold a request for changes that have not happened yet."""

DYING_TIMEOUT = 1.0
"""Seconds in which a process that ends closes its sockets: that on which it listens may be the last of them."""

ENDING_TIMEOUT = 30.0
"""Seconds that a daemon has to end its workers, before a command that came meanwhile starts the next one."""

STOP_POLL, STOP_TIMEOUT = 1.0, 90.0
"""Seconds between two looks at a daemon that stops, and in which one that stops at once has ended: it has a limit of
its own, which is shorter."""

FORWARDED = "WANDB_"
"""Prefix of the environment variables that are sent with an experiment, except keys: those would be stored on disk."""


class Client:
    """Connected when created; starts a daemon if none is running. A context manager. For one thread at a time.

    The argument `experiment` is an ID, a name (of which the newest experiment is meant), `@` for the newest of all, or
    `@~1` for the one before it. Methods raise the errors of `sandbox_actors.errors`: those of the daemon, or
    DaemonUnreachable.
    """

    def __init__(self, paths: Paths | None = None, *, autostart: bool | None = None) -> None:
        """`autostart` None: unless SANDBOX_AUTOSTART=0. Without `paths`, SANDBOX_CONNECT may name a daemon on another
        machine, which is never started from here."""
        self.paths = paths or find_paths()
        remote = None if paths else find_remote(self.paths.keys)
        self._may_start = remote is None and (_is_autostart_on(os.environ) if autostart is None else autostart)
        address = remote or self._find_socket()
        if self._may_start and address is None:
            start_daemon(self.paths)
        self._connection = self._connect(address or self.paths.socket)
        if self._connection.daemon.version != __version__:
            self._handle_other_version(self._connection.daemon.version)

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
        """Submit an experiment file with `KEY=VALUE` overrides; returns its ID. Raises ConfigError."""
        # Imported here because few commands read a file, and these imports take half of the time to start a command.
        from sandbox_actors.experiment.model import freeze
        from sandbox_actors.experiment_file.load import load_experiment
        from sandbox_actors.hooks.catalogue import load_catalogue

        source = os.fspath(file)
        experiment = load_experiment(source, overrides, load_catalogue()).require()
        return self.submit_definition(freeze(experiment), source)

    def submit_definition(self, definition: Any, source: str = "") -> str:
        """Submit a frozen experiment; returns its ID. Relative paths in it are relative to the current folder.

        Raises Refused for a secret in it, before anything is sent.
        """
        refuse_secrets(definition)
        environ = {name: value for name, value in os.environ.items() if _is_forwarded(name)}
        key = secrets.token_hex(16)
        request = Submit(key=key, definition=definition, source=source, cwd=current_folder(), environ=environ)
        try:
            return self._connection.ask(request).experiment
        except (DaemonUnreachable, ActorStopped):  # it may have been stored: the next daemon knows the key
            if not self._reconnect():
                raise
            return self._connection.ask(request).experiment

    def forecast(self, definition: Any) -> list[PlannedJob]:
        """The jobs that `submit_definition` would run, and which of them would be warm; nothing is submitted."""
        return self._connection.ask(Forecast(definition=definition, cwd=current_folder()))

    def experiments(self, limit: int = 1000) -> list[ExperimentRow]:
        """Newest first; of an error or a reason the first line, which `show` has as a whole."""
        rows: list[ExperimentRow] = []
        while len(rows) < limit:
            before = rows[-1].id if rows else ""
            page = self._connection.ask(ListExperiments(limit=limit - len(rows), before=before))
            if not page:
                break
            rows += page
        return rows

    def show(self, experiment: str = "@") -> ExperimentDetail:
        detail = page = self._connection.ask(Show(experiment=experiment))
        while page.next is not None:
            page = self._connection.ask(Show(experiment=detail.experiment.id, after=page.next))
            detail = joined(detail, page)
        return detail

    def follow(self, experiment: str = "@", interval: float = 0.1) -> Iterator[Changed]:
        """Every change of an experiment from its start to its end, in pieces at least `interval` seconds apart.

        If the daemon dies, a new one continues the experiment, and following continues with it.
        """
        after = after_progress = 0
        while True:
            asked = time.monotonic()
            request = Changes(experiment=experiment, after=after, after_progress=after_progress, wait=WAIT)
            try:
                changed = self._connection.ask(request)
            except (DaemonUnreachable, ActorStopped):
                if not self._reconnect():
                    raise
                after_progress = 0
                continue
            if changed.experiment is not None:
                experiment = changed.experiment.id  # by now, `@` may mean another one
            yield changed
            if changed.finished:
                return
            after, after_progress = changed.next, changed.next_progress
            time.sleep(max(0.0, asked + interval - time.monotonic()))

    def wait(self, experiment: str = "@") -> ExperimentDetail:
        """Wait until the experiment has ended, whatever its `experiment.state`; returns what `show` returns."""
        for changed in self.follow(experiment, interval=1.0):
            if changed.experiment is not None:
                experiment = changed.experiment.id
        return self.show(experiment)

    def cancel(self, experiment: str = "@") -> ExperimentRow:
        """Returns when the experiment has ended."""
        return self._connection.ask(CancelExperiment(experiment=experiment))

    def resume(self, experiment: str = "@") -> str:
        """Continue an ended experiment at the first job that has not succeeded; returns its ID."""
        return self._connection.ask(ResumeExperiment(experiment=experiment)).experiment

    def metrics(self, experiment: str = "@", name: str = "") -> list[MetricRow]:
        """All points of a metric (`loss`, `train.loss`, `baseline.train.loss`), or of all metrics, oldest first."""
        rows: list[MetricRow] = []
        while True:
            after = rows[-1].seq if rows else 0
            page = self._connection.ask(ReadMetrics(experiment=experiment, name=name, after=after))
            if not page:
                return rows
            rows += page

    def read_log(self, experiment: str = "@", job: str = "", offset: int = 0, wait: float = 0.0) -> LogChunk:
        """A part of a job's log from byte `offset` on; waits up to `wait` seconds for it to be written."""
        return self._connection.ask(ReadLog(experiment=experiment, job=job, offset=offset, wait=wait))

    def log(self, experiment: str = "@", job: str = "", *, follow: bool = False) -> Iterator[bytes]:
        """The log of a job (`meta_name`, `pipeline.meta_name`, or the job that started last) in pieces.

        With `follow`, until the job has ended.
        """
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
        """Returns when its process has ended. Raises Refused for a worker in use, unless `force`."""
        return self._connection.ask(StopWorker(worker=worker, force=force))

    def status(self) -> DaemonStatus:
        return self._connection.ask(GetStatus())

    def stop_daemon(
        self, *, now: bool = False, on_trouble: Callable[[str], None] = lambda trouble: None
    ) -> DaemonStatus:
        """Returns when the daemon's process has ended: after the running experiments, or with `now` at once.

        `on_trouble` is called with what keeps it from recording how its experiments end, when that changes. Raises
        DaemonUnreachable if it is to stop `now`, and has not ended within `STOP_TIMEOUT`.
        """
        import psutil

        require_local("stopping a daemon")
        daemon = psutil.Process(self._connection.daemon.pid)
        status = last = self._connection.ask(StopDaemon(now=now))
        deadline = time.monotonic() + (STOP_TIMEOUT if now else math.inf)
        shown = ""
        while True:
            if (trouble := last.trouble.partition("(")[0]) != shown:  # without figures, which change all the time
                shown = trouble
                on_trouble(last.trouble)
            try:
                daemon.wait(STOP_POLL)
            except psutil.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise DaemonUnreachable(
                        f"the daemon (pid {daemon.pid}) has not ended within {STOP_TIMEOUT:g} seconds; "
                        f"`kill -9 {daemon.pid}` ends it, and the next one continues"
                    ) from None
                with suppress(SandboxError):  # it does not answer any more, as it stops
                    last = self.status()
            else:
                return status

    def _connect(self, place: Path | Remote) -> Connection:
        """Connect to the daemon at `place`; to a new one if that is ending, and starting one is allowed."""
        try:
            return Connection(place)
        except DaemonUnreachable as error:
            patience = ENDING_TIMEOUT if isinstance(error, DaemonEnds) else 0.0
            if not self._may_start or not self._wait_until_gone(patience):
                raise
        start_daemon(self.paths)
        return Connection(self.paths.socket)

    def _wait_until_gone(self, seconds: float) -> bool:
        """Whether no daemon listens any more, after at most `seconds`."""
        deadline = time.monotonic() + seconds
        while self._find_socket() is not None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True

    def _reconnect(self) -> bool:
        """Connect to the daemon that has replaced a dead one, and start it if that is allowed.

        False if there is none: the daemon is stuck, or was stopped (which removes its socket), or starting one is not
        allowed. Raises DaemonUnreachable if it cannot be started.
        """
        before, deadline = self._connection.pid, time.monotonic() + DYING_TIMEOUT
        while (found := listener(self.paths.socket)) == before:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        if found is None:
            if not self._may_start or not self.paths.socket.exists():
                return False
            start_daemon(self.paths)
        self._connection.close()
        self._connection = Connection(self.paths.socket)
        crash = next((f" by {each.error}" for each in recent_crashes(self.paths.crashes) if each.pid == before), "")
        warnings.warn(
            f"the daemon (pid {before}) has died{crash}; a new one (pid {self._connection.pid}) continues", stacklevel=3
        )
        return True

    def _find_socket(self) -> Path | None:
        """The socket of this machine's daemon. One that was started without a login session uses the home's socket."""
        return next((path for path in (self.paths.socket, self.paths.home_socket) if listener(path) is not None), None)

    def _handle_other_version(self, version: str) -> None:
        """Replace an idle daemon by one of this version if that is allowed; else warn."""
        if self._may_start and self.status().experiments == 0:
            self.stop_daemon()
            self._connection.close()
            start_daemon(self.paths)
            self._connection = Connection(self.paths.socket)
        else:
            warnings.warn(
                f"the daemon has version {version}, this client {__version__}; after `sandbox daemon stop` "
                "the next command starts one of the same version",
                stacklevel=3,
            )


def joined(detail: ExperimentDetail, more: ExperimentDetail) -> ExperimentDetail:
    """Two consecutive pages as one."""
    infos = {
        each.iter: {name: [*entries] for name, entries in each.context_infos.items()} for each in detail.iterations
    }
    for iteration in more.iterations:
        known = infos.setdefault(iteration.iter, {})
        for name, entries in iteration.context_infos.items():
            known.setdefault(name, []).extend(entries)
    return msgspec.structs.replace(
        detail,
        experiment=more.experiment,
        iterations=[Iteration(iter=iter, context_infos=each) for iter, each in infos.items()],
        jobs=[*detail.jobs, *more.jobs],
        envs=[*detail.envs, *more.envs],
        next=more.next,
    )


def current_folder() -> str:
    """The folder that relative paths start from. Raises Refused if it is gone, or no message can hold its path."""
    try:
        folder = os.getcwd()
        folder.encode()
    except OSError as error:
        raise Refused(f"the current folder cannot be used ({error.strerror}): `cd` to one that exists") from error
    except UnicodeEncodeError:
        raise Refused(f"the path of the current folder is not UTF-8: {bounded(folder)}; `cd` to another one") from None
    return folder


def newest_job(jobs: Iterable[JobRow]) -> str:
    """The `pipeline.meta_name` of the job that started last; empty if there is none."""
    started = [job for job in jobs if job.started is not None]
    last = max(started, key=lambda job: job.started or 0.0, default=None)
    return f"{last.pipeline}.{last.meta_name}" if last else ""


def _is_autostart_on(environ: Mapping[str, str]) -> bool:
    return environ.get(AUTOSTART_VARIABLE, "1").lower() not in ("0", "false", "no", "off")


def _is_forwarded(name: str) -> bool:
    return name.startswith(FORWARDED) and not name.endswith("_KEY")
