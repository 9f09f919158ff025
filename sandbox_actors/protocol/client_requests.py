"""What clients ask the daemon. Each request names the type of its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sandbox_actors.protocol.frames import Request
from sandbox_actors.protocol.rows import (
    DaemonStatus,
    ExperimentDetail,
    ExperimentRow,
    JobRow,
    MetricRow,
    PlannedJob,
    ProgressBar,
    WorkerRow,
)


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    experiment: str


class Submit(Request[Submitted], frozen=True, kw_only=True):
    """`definition` is the frozen experiment file. `environ` holds the few variables of the caller that are forwarded to
    runs. `key` is the client's own name for this request: one that is sent again gets the same answer, and the
    experiment runs once."""

    key: str = ""
    definition: Any
    source: str
    cwd: str
    environ: dict[str, str] = {}


class Forecast(Request[list[PlannedJob]], frozen=True, kw_only=True):
    """The jobs that would be run, given the present state of the daemon. Nothing is submitted."""

    definition: Any
    cwd: str


class ListExperiments(Request[list[ExperimentRow]], frozen=True, kw_only=True):
    """Newest first, those before the id `before`; of an error or a reason the first line.

    May be answered with fewer than there are: ask again before the last one until the answer is empty.
    """

    limit: int = 1000
    before: str = ""


class Show(Request[ExperimentDetail], frozen=True, kw_only=True):
    """`experiment` wherever it occurs: an id, a name (its newest), `@` for the newest of all, `@~1` the one before.

    Start with `after=0`, and ask again after the `next` of the answer, by id, until that is None.
    """

    experiment: str
    after: int = 0


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """`progress` maps the index of a job to its bar, complete if `next_progress` has changed, else None.

    `finished`: the experiment has ended, and no changes are left after this answer.
    """

    next: int
    next_progress: int
    experiment: ExperimentRow | None
    jobs: list[JobRow]
    metrics: list[MetricRow]
    progress: dict[str, ProgressBar] | None
    finished: bool


class Changes(Request[Changed], frozen=True, kw_only=True):
    """The changes of an experiment since an earlier answer. Waits up to `wait` seconds for the first one.

    Start with `after=0, after_progress=0` for everything so far.
    """

    experiment: str
    after: int = 0
    after_progress: int = 0
    wait: float = 0.0


class LogChunk(msgspec.Struct, frozen=True, kw_only=True):
    """`data` begins at byte `offset`. `finished`: the job has ended, and this is the end of its log."""

    data: bytes
    offset: int
    path: str
    finished: bool


class ReadLog(Request[LogChunk], frozen=True, kw_only=True):
    """Bytes of a job's log from `offset`. `job` is a meta_name, `pipeline.meta_name`, or empty for the newest job.

    Waits up to `wait` seconds for more to be written.
    """

    experiment: str
    job: str = ""
    offset: int = 0
    wait: float = 0.0


class ReadMetrics(Request[list[MetricRow]], frozen=True, kw_only=True):
    """`name` is a metric (`loss`), or qualified by its job (`train.loss`, `baseline.train.loss`); empty for all.

    Answered in commit order, with at most `limit` points after sequence number `after`.
    """

    experiment: str
    name: str = ""
    after: int = 0
    limit: int = 10_000


class CancelExperiment(Request[ExperimentRow], frozen=True, kw_only=True):
    """Answered when the experiment has ended."""

    experiment: str


class ResumeExperiment(Request[Submitted], frozen=True, kw_only=True):
    """Continue an ended experiment at the first job that has not succeeded."""

    experiment: str


class ListWorkers(Request[list[WorkerRow]], frozen=True, kw_only=True):
    """All component actors."""


class StopWorker(Request[WorkerRow], frozen=True, kw_only=True):
    """Answered when the process has ended, with its last row. A worker in use is refused unless `force`."""

    worker: str
    force: bool = False


class GetStatus(Request[DaemonStatus], frozen=True, kw_only=True):
    """The state of the daemon."""


class StopDaemon(Request[DaemonStatus], frozen=True, kw_only=True):
    """Answered at once. With `now`, running experiments are cancelled; else they finish, and no others are started."""

    now: bool = False


ClientRequest = (
    Submit
    | Forecast
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

decode_client_request: Callable[[bytes], ClientRequest] = msgspec.msgpack.Decoder(ClientRequest).decode
