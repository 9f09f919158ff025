"""Every message on the wire: one msgpack document a frame, a tagged Struct in it.

Two sockets speak this protocol: clients to the daemon, workers to the daemon. Both open with `Hello`, answered by
`Welcome` or `TurnedAway`, and then speak in asks: whoever wants something sends `Ask`, and gets exactly one `Reply`
or `Failed` with the same id. Nothing is ever pushed: a client that follows an experiment asks for what has changed
since the last answer, so that a slow one slows only itself and nothing needs to be dropped.

Importable with the standard library and msgspec alone, on Python 3.10 and later: workers use it inside their envs.
"""

from __future__ import annotations

import json
import time
import traceback
from typing import Any

import msgspec

from sandbox_actors.errors import ComponentFailed, ConfigError, SandboxError

PROTOCOL_VERSION = 1

MAX_FRAME = 16 * 1024 * 1024
"""Bytes. A longer frame costs its sender the connection, before it is decoded."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag=True):
    """Base of everything on the wire; the tag is the class name."""


# --- what both sockets share -------------------------------------------------------------------------------------


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An exception on its way to another process. `traceback` is text, made where the exception was raised."""

    code: str
    message: str
    kind: str = ""
    traceback: str = ""


class Hello(Message, frozen=True, kw_only=True):
    """First frame of every peer. `token` is what a worker read from its inherited descriptor; clients have none."""

    protocol: int
    version: str
    name: str
    pid: int
    token: str = ""


class Welcome(Message, frozen=True, kw_only=True):
    protocol: int
    version: str
    pid: int


class TurnedAway(Message, frozen=True, kw_only=True):
    """Answer to a `Hello`, or to a frame that broke the protocol. The sender is not listened to any more."""

    fault: Fault
    protocol: int
    version: str


class Reply(Message, frozen=True, kw_only=True):
    id: int
    body: msgspec.Raw


class Failed(Message, frozen=True, kw_only=True):
    id: int
    fault: Fault


class Abandon(Message, frozen=True, kw_only=True):
    """Whoever sent ask `id` no longer waits for the answer."""

    id: int


# --- what is stored and shown ------------------------------------------------------------------------------------


class Point(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One value of one metric. `step` is None for a result, a number in a series; `time` in Unix seconds."""

    name: str
    value: float | int | str | bool | None
    step: int | None = None
    time: float = 0.0


def points_of(res: Any, name: str, step: int | None = None) -> list[Point]:
    """`res` as points taken now: one, or one for each leaf of a mapping, named `<name>.<key>...` as in the seed."""
    now = time.time()
    if not isinstance(res, dict):
        value = res if res is None or isinstance(res, (bool, int, float, str)) else json.dumps(res, default=str)
        return [Point(name=name, value=value, step=step, time=now)]
    prefix = f"{name}." if name else ""
    return [point for key, item in res.items() for point in points_of(item, f"{prefix}{key}", step)]


class MetricRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stored point, and the job it came from. `seq` grows by commit order over the whole store."""

    seq: int
    name: str
    value: float | int | str | bool | None
    step: int | None
    time: float
    pipeline: str
    job: str
    iter: int


class ProgressBar(msgspec.Struct, frozen=True, kw_only=True):
    """How far something is that takes more than a moment. `total` is None where the end is not known."""

    label: str
    done: float
    total: float | None = None
    unit: str = ""


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """One job of one iteration. `index` counts the jobs of an iteration from 0, in the order in which they run.

    `state` is waiting, running, succeeded, failed or cancelled; `reason` says what a waiting or running job waits
    for; `seq` is the store's sequence number of the last change. Times in Unix seconds.
    """

    seq: int
    index: int
    pipeline: str
    list: str
    hook: str
    meta_name: str
    iter: int
    state: str
    started: float | None = None
    finished: float | None = None
    seconds: float | None = None
    worker: str = ""
    warm: bool | None = None
    attempt: int = 1
    error: str = ""
    reason: str = ""
    log: str = ""


class ExperimentRow(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is waiting, running, succeeded, failed or cancelled."""

    seq: int
    id: str
    name: str
    project: str
    state: str
    source: str
    cwd: str
    work_dir: str
    submitted: float
    started: float | None = None
    finished: float | None = None
    error: str = ""
    reason: str = ""
    jobs_done: int = 0
    jobs_total: int = 0


class Iteration(msgspec.Struct, frozen=True, kw_only=True):
    """The `context_infos` of one iteration, in the two-level form of the seed."""

    iter: int
    context_infos: dict[str, list[dict[str, Any]]]


class ExperimentDetail(msgspec.Struct, frozen=True, kw_only=True):
    """`definition` is the frozen experiment: what was submitted, every file in it inlined."""

    experiment: ExperimentRow
    iterations: list[Iteration]
    jobs: list[JobRow]
    definition: Any = None


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One component actor. `state` is starting, idle, running or stopping; `keep_alive_seconds` is None for ever."""

    worker: str
    pid: int
    component: str
    env: str
    state: str
    model: str
    rss_bytes: int
    runs: int
    idle_seconds: float
    keep_alive_seconds: float | None
    job: str = ""


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    pid: int
    socket: str
    home: str
    version: str
    uptime_seconds: float
    workers: int
    experiments: int


# --- client to daemon: requests, and under each the answer --------------------------------------------------------


class Submit(Message, frozen=True, kw_only=True):
    """`definition` is the frozen experiment file. `environ` holds the few variables of the caller that a run heeds."""

    definition: Any
    source: str
    cwd: str
    environ: dict[str, str] = {}


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    experiment: str


class ListExperiments(Message, frozen=True, kw_only=True):
    """Answer: list[ExperimentRow], newest first."""

    limit: int = 1000


class Show(Message, frozen=True, kw_only=True):
    """`experiment` wherever it occurs: an id, a name (its newest), `@` for the newest of all, `@~1` the one before.

    Answer: ExperimentDetail.
    """

    experiment: str


class Changes(Message, frozen=True, kw_only=True):
    """What has changed in an experiment since an earlier answer. Waits up to `wait` seconds for there to be something.

    Answer: Changed. Start with `after=0, after_progress=0` for everything so far.
    """

    experiment: str
    after: int = 0
    after_progress: int = 0
    wait: float = 0.0


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """`progress` maps the index of a job to its bar, complete whenever `next_progress` moved on, else None.

    `finished` is True when the experiment has ended and this answer brings all that was left to tell.
    """

    next: int
    next_progress: int
    experiment: ExperimentRow | None
    jobs: list[JobRow]
    metrics: list[MetricRow]
    progress: dict[str, ProgressBar] | None
    finished: bool


class ReadLog(Message, frozen=True, kw_only=True):
    """Bytes of a job's log from `offset`. `job` is a meta_name, `pipeline.meta_name`, or empty for the newest job.

    Waits up to `wait` seconds for more to be written. Answer: LogChunk.
    """

    experiment: str
    job: str = ""
    offset: int = 0
    wait: float = 0.0


class LogChunk(msgspec.Struct, frozen=True, kw_only=True):
    """`data` begins at byte `offset`. `finished` is True when the job has ended and nothing follows."""

    data: bytes
    offset: int
    path: str
    finished: bool


class ReadMetrics(Message, frozen=True, kw_only=True):
    """`name` is a metric (`loss`), or qualified by its job (`train.loss`, `baseline.train.loss`); empty for all.

    Answer: list[MetricRow], in commit order, at most `limit` after sequence number `after`.
    """

    experiment: str
    name: str = ""
    after: int = 0
    limit: int = 10_000


class CancelExperiment(Message, frozen=True, kw_only=True):
    """Answer: ExperimentRow, when the experiment has ended."""

    experiment: str


class ResumeExperiment(Message, frozen=True, kw_only=True):
    """Go on with an ended experiment at the first job that has not succeeded. Answer: Submitted."""

    experiment: str


class ListWorkers(Message, frozen=True, kw_only=True):
    """Answer: list[WorkerRow]."""


class StopWorker(Message, frozen=True, kw_only=True):
    """Answer: WorkerRow as it was, when the process is gone. A worker in use is refused unless `force`."""

    worker: str
    force: bool = False


class GetStatus(Message, frozen=True, kw_only=True):
    """Answer: DaemonStatus."""


class StopDaemon(Message, frozen=True, kw_only=True):
    """Answer: DaemonStatus, at once. With `now`, running experiments are cut off; else no job is started any more."""

    now: bool = False


ClientRequest = (
    Submit
    | ListExperiments
    | Show
    | Changes
    | ReadLog
    | ReadMetrics
    | CancelExperiment
    | ResumeExperiment
    | ListWorkers
    | StopWorker
    | GetStatus
    | StopDaemon
)


# --- daemon to worker ---------------------------------------------------------------------------------------------


class ComponentRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a component's class is: `module:Class`, and the folders put on `sys.path` before it is looked for."""

    target: str
    paths: list[str] = []


class Run(Message, frozen=True, kw_only=True):
    """Build the component from `config` and call its `run(*args, **kwargs)`.

    `model_key` names the loaded model: while it stays the same, what `load()` returned is kept. Everything written
    to file descriptors 1 and 2 from here on goes to `log`.
    Answer: Outcome.
    """

    run: str
    component: ComponentRef
    config: Any
    model_key: str
    cwd: str
    log: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What `run` returned, as values that JSON can hold. `is_tuple` tells several outputs from one that is a list."""

    values: list[Any]
    is_tuple: bool = False
    load_seconds: float | None = None


class FollowLog(Message, frozen=True, kw_only=True):
    """Follow the log of run `run` from its beginning, turning lines into points by the component's `_watch_run`.

    Answer: Followed, after `EndLog` came and all that was written till then was read.
    """

    run: str
    component: ComponentRef
    config: Any
    cwd: str
    log: str


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """`errors` counts the lines at which `_watch_run` raised; `first_error` is the traceback of the first."""

    lines: int
    points: int
    errors: int = 0
    first_error: str = ""


class EndLog(Message, frozen=True, kw_only=True):
    """No one writes to the log of run `run` any more. Answer: nothing (nil)."""

    run: str


class Exit(Message, frozen=True, kw_only=True):
    """End in good order: unload, then exit. Answer: nothing (nil), before the process ends."""


WorkerTask = Run | FollowLog | EndLog | Exit


# --- worker to daemon ---------------------------------------------------------------------------------------------


class Report(Message, frozen=True, kw_only=True):
    """Points and progress of run `run`. Answer: nothing (nil), when the points are stored."""

    run: str
    points: list[Point] = []
    progress: ProgressBar | None = None


class Query(Message, frozen=True, kw_only=True):
    """`watcher.query(name)`. Answer: the newest value of that metric in the experiment of run `run`, or nil."""

    run: str
    name: str


class Pull(Message, frozen=True, kw_only=True):
    """For exporters: the metrics of the experiment of run `run` after `after`. Waits up to `wait` seconds.

    Answer: Pulled.
    """

    run: str
    after: int
    wait: float


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    metrics: list[MetricRow]
    next: int
    finished: bool


WorkerRequest = Report | Query | Pull


# --- the asks themselves ------------------------------------------------------------------------------------------


class Ask(Message, frozen=True, kw_only=True):
    """`body` is a ClientRequest, a WorkerRequest or a WorkerTask, decoded by whoever knows which."""

    id: int
    body: msgspec.Raw


Frame = Hello | Welcome | TurnedAway | Ask | Reply | Failed | Abandon

encode = msgspec.msgpack.Encoder().encode
decode_frame = msgspec.msgpack.Decoder(Frame).decode
decode_client_request = msgspec.msgpack.Decoder(ClientRequest).decode
decode_worker_request = msgspec.msgpack.Decoder(WorkerRequest).decode
decode_worker_task = msgspec.msgpack.Decoder(WorkerTask).decode


# --- errors on their way ------------------------------------------------------------------------------------------


def fault_of(error: BaseException) -> Fault:
    """An exception as data. Errors raised on purpose travel without a traceback, unless they brought a remote one."""
    if isinstance(error, ComponentFailed):
        return Fault(code=error.code, message=str(error), kind=error.remote_type, traceback=error.remote_traceback)
    if isinstance(error, SandboxError):
        return Fault(code=error.code, message=str(error), kind=type(error).__name__)
    kind = type(error).__name__
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return Fault(code="internal", message=f"{kind}: {error}", kind=kind, traceback=text)


def error_of(fault: Fault) -> SandboxError:
    """The exception that `fault` was made from; ComponentFailed with the remote traceback where it is none of ours."""
    for kind in _plain_errors(SandboxError):
        if kind.code == fault.code:
            return kind(fault.message)
    return ComponentFailed(fault.message, remote_type=fault.kind, remote_traceback=fault.traceback)


def _plain_errors(base: type[SandboxError]) -> list[type[SandboxError]]:
    """The subclasses, at any depth, that can be made again from their message alone."""
    direct = [kind for kind in base.__subclasses__() if kind not in (ComponentFailed, ConfigError)]
    return direct + [deeper for kind in direct for deeper in _plain_errors(kind)]
