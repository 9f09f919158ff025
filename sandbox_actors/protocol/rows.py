"""Rows that are stored and shown: experiments, jobs, metrics, workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from sandbox_actors.protocol import strict_json
from sandbox_actors.protocol.texts import bounded, bounded_line

Ended: TypeAlias = Literal["succeeded", "failed", "cancelled"]
State: TypeAlias = Literal["waiting", "running"] | Ended
"""Of an experiment, or of a job."""

ENDED: frozenset[State] = frozenset(get_args(Ended))
"""The final states of an experiment or a job, unless it is resumed."""

WorkerState: TypeAlias = Literal["starting", "idle", "running", "stopping", "ended"]


Value: TypeAlias = float | int | str | bool | None
"""Of a metric."""


class Point(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One value of one metric. `step` is None for a result, a number in a series; `time` in Unix seconds."""

    name: str
    value: Value
    step: int | None = None
    time: float = 0.0


LONGEST_TEXT = 32 * 1024
"""Characters of one value."""

LONGEST_NAME = 1_000
"""Characters of the name of a metric, which may lead deep into a mapping."""


def points_of(res: Any, name: str, step: int | None = None) -> Iterator[Point]:
    """`res` as points taken now: one, or one for each leaf of a mapping, named `<name>.<key>...` as in Data-Juicer
    Sandbox.

    Of a text longer than `LONGEST_TEXT` the middle is left out, so that it fits into an answer with others.
    """
    if isinstance(res, dict):
        prefix = f"{name}." if name else ""
        for key, item in res.items():
            yield from points_of(item, f"{prefix}{key}", step)
        return
    value = res if res is None or isinstance(res, (bool, int, float, str)) else strict_json.dumps(res)
    if isinstance(value, str):
        value = bounded(value, LONGEST_TEXT, whole="")
    yield Point(
        name=bounded_line(name, LONGEST_NAME) if len(name) > LONGEST_NAME else bounded(name, LONGEST_NAME),
        value=value,
        step=step,
        time=time.time(),
    )


class MetricRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stored point, and the job it came from. `seq` increases in commit order over the whole store."""

    seq: int
    name: str
    value: Value
    step: int | None
    time: float
    pipeline: str
    job: str
    iter: int


class ProgressBar(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of an operation. `total` is None if it is not known."""

    label: str
    done: float
    total: float | None = None
    unit: str = ""


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """One job of one iteration. `index` numbers the jobs of an iteration from 0, in the order in which they run.

    `reason` says what a waiting or running job waits for; `seq` is the store's sequence number of the last change.
    Times in Unix seconds.
    """

    seq: int
    index: int
    pipeline: str
    list: str
    hook: str
    meta_name: str
    iter: int
    state: State
    started: float | None = None
    finished: float | None = None
    seconds: float | None = None
    worker: str = ""
    warm: bool | None = None
    attempt: int = 1
    error: str = ""
    reason: str = ""
    log: str = ""


class PlannedJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job of an experiment that has not been submitted.

    `component` and `env` are empty if they are known only at run time. `warm`: an idle actor has the process and the
    model; None: it has the process, and the model depends on the output of another job.
    """

    index: int
    pipeline: str
    list: str
    hook: str
    meta_name: str
    component: str
    env: str
    warm: bool | None


class ExperimentRow(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    id: str
    name: str
    project: str
    state: State
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
    """The `context_infos` of one iteration, in the two-level form of Data-Juicer Sandbox."""

    iter: int
    context_infos: dict[str, list[dict[str, Any]]]


class EnvRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What an env contained when a job ran in it.

    `spec` is the env's spec with all paths absolute, as plain data. `requested` names the packages that the spec itself
    asks for, `options` are the lines of its requirements files that are options of the installer. `packages` are the
    Python packages by name with their versions; `origins` has the requirement that installs the same again for those
    of them that do not come from an index. `conda` are the conda packages as `name=version=build`; a Python package
    that conda installed is only there. `channels` are those that they come from; empty for those that the manager is
    set up with.
    """

    name: str
    manager: str
    python: str
    spec: dict[str, Any]
    requested: list[str]
    packages: dict[str, str]
    options: list[str] = []
    origins: dict[str, str] = {}
    conda: list[str] = []
    channels: list[str] = []


class EnvRow(msgspec.Struct, frozen=True, kw_only=True):
    """An env that jobs of an experiment ran in. `jobs` are `pipeline.meta_name`, each once; equal envs have equal
    digests."""

    digest: str
    record: EnvRecord
    jobs: list[str]


class ExperimentDetail(msgspec.Struct, frozen=True, kw_only=True):
    """`definition` is the frozen experiment: what was submitted, with the files that it refers to inlined. `envs` are
    in the order of the first jobs that ran in them.

    One answer is limited in size: unless `next` is None, more jobs or envs follow after it, without the definition. An
    output that fits into no answer is replaced by a note.
    """

    experiment: ExperimentRow
    iterations: list[Iteration]
    jobs: list[JobRow]
    definition: Any = None
    envs: list[EnvRow] = []
    next: int | None = None


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One component actor. `keep_alive_seconds` is None if it is infinite."""

    worker: str
    pid: int
    component: str
    env: str
    state: WorkerState
    model: str
    rss_bytes: int
    runs: int
    idle_seconds: float
    keep_alive_seconds: float | None
    job: str = ""


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`trouble` says why nothing can be stored at present, and what to do about it."""

    pid: int
    socket: str
    home: str
    version: str
    uptime_seconds: float
    workers: int
    experiments: int
    trouble: str = ""
