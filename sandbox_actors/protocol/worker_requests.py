"""What the daemon asks workers, and workers the daemon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from sandbox_actors.protocol.frames import Request
from sandbox_actors.protocol.rows import MetricRow, Point, ProgressBar, Value


class ComponentRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a component's class is: `module:Class`, and the folders that are added to `sys.path` before it is imported.

    `package` is the file or folder of its top-level package, if the folder around it must not be added as a whole.
    """

    target: str
    paths: list[str] = []
    package: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What `run` returned, as values that JSON can hold. `is_tuple` distinguishes several outputs from one list.

    `has_model`: the component has a `load()`, so its process is warm only for that model.
    """

    values: list[Any]
    is_tuple: bool = False
    load_seconds: float | None = None
    has_model: bool = False


class Run(Request[Outcome], frozen=True, kw_only=True):
    """Build the component from `config` and call its `run(*args, **kwargs)`.

    `model_key` names the loaded model: while it stays the same, what `load()` returned is kept. Everything written
    to file descriptors 1 and 2 from here on goes to `log`. `folder` is where the worker writes what the next daemon
    needs: the result, and the points that the component watches in its own process; "" for a run that cannot be
    rejoined.
    """

    run: str
    component: ComponentRef
    config: Any
    model_key: str
    cwd: str
    log: str
    folder: str = ""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


class Rejoin(Request[Outcome], frozen=True, kw_only=True):
    """From a new daemon: wait for run `run`, which is hosted already. Answered as `Run` is, or with NotFound."""

    run: str


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """`errors` counts the lines at which `_watch_run` raised; `first_error` is the traceback of the first.

    `slow` counts the lines at which it was stopped because it took too long; `first_slow` is the start of the first.
    `is_given_up`: there were so many that the component got no more lines.
    """

    lines: int
    points: int
    errors: int = 0
    first_error: str = ""
    slow: int = 0
    first_slow: str = ""
    is_given_up: bool = False


class FollowLog(Request[Followed], frozen=True, kw_only=True):
    """Follow the log of run `run` from byte `begin`, turning lines into points by the component's `_watch_run`.

    Points of lines that end at or before byte `reported` are stored already. These lines are parsed again, so that a
    component with a state has the right one, but their points are dropped. So a log watcher that replaces a dead one is
    exact, but has to read the log from the start of the run.
    Answered after `EndLog` has arrived and everything written before it has been read.
    """

    run: str
    component: ComponentRef
    config: Any
    cwd: str
    log: str
    begin: int = 0
    reported: int = 0


class EndLog(Request[None], frozen=True, kw_only=True):
    """Nothing writes to the log of run `run` any more."""

    run: str


class Ping(Request[None], frozen=True, kw_only=True):
    """Answered by a process that is not stuck."""


class Exit(Request[None], frozen=True, kw_only=True):
    """Unload the model, then exit. Answered before the process ends."""


WorkerTask = Run | Rejoin | FollowLog | EndLog | Ping | Exit


class Report(Request[None], frozen=True, kw_only=True):
    """Points and progress of run `run`. Answered when the points are stored.

    Each `source` of a run numbers what it reports by a `position` that never decreases: the log watcher ("log") by the
    end of the last line in the log, in bytes, the component ("direct") by a clock. Points whose position is not greater
    than the last stored one are stored already, and are dropped. So a report may be sent again, but a source may have
    only one open at a time.
    """

    run: str
    source: str
    position: int
    points: list[Point] = []
    progress: ProgressBar | None = None


class TakeIn(Request[None], frozen=True, kw_only=True):
    """The journal of run `run` has grown. Answered when the points in it are stored."""

    run: str


class Query(Request[Value], frozen=True, kw_only=True):
    """`watcher.query(name)`. Answered with the newest value of that metric in the experiment of run `run`, or None."""

    run: str
    name: str


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    metrics: list[MetricRow]
    next: int
    finished: bool


class Pull(Request[Pulled], frozen=True, kw_only=True):
    """For exporters: the metrics of the experiment of run `run` after `after`. Waits up to `wait` seconds."""

    run: str
    after: int
    wait: float


WorkerRequest = Report | TakeIn | Query | Pull

decode_worker_task: Callable[[bytes], WorkerTask] = msgspec.msgpack.Decoder(WorkerTask).decode
decode_worker_request: Callable[[bytes], WorkerRequest] = msgspec.msgpack.Decoder(WorkerRequest).decode
