"""What clients ask the daemon, and under each request its answer."""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox_actors.protocol.frames import Message
from sandbox_actors.protocol.rows import ExperimentRow, JobRow, MetricRow, ProgressBar


class Submit(Message, frozen=True, kw_only=True):
    """`definition` is the frozen experiment file. `environ` holds the few variables of the caller that a run heeds."""

    definition: Any
    source: str
    cwd: str
    environ: dict[str, str] = {}


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    experiment: str


class Forecast(Message, frozen=True, kw_only=True):
    """What would be run with what is there now; nothing is submitted. Answer: list[PlannedJob]."""

    definition: Any
    cwd: str


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

decode_client_request = msgspec.msgpack.Decoder(ClientRequest).decode
