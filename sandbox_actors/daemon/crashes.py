"""Errors of the daemon's own: survived once, given up when they come again, and described for people.

An error of one job, experiment, build or request is its own (`coordinator.py`, `experiment_run.py`, `gateway.py`,
`environments.py`). What gets past these ends the daemon by `crash`, at once and without taking anything apart. To its
workers that is a daemon which was killed: they continue, and the next daemon adopts them.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from sandbox_actors.errors import ComponentFailed, Refused, is_expected, leaves
from sandbox_actors.protocol.faults import fault_of
from sandbox_actors.protocol.texts import bounded_line
from sandbox_actors.system.crash_record import CRASH_SECONDS, Crash, add_crash, recent_crashes

log = logging.getLogger(__name__)

STATUS = 70
"""Exit status of a daemon that ends by an error of its own: that of a bug, as in the command line."""

MOST_CRASHES = 5
"""Of daemons of one home within `CRASH_SECONDS`; then none is started until that time is over."""


class Crashes:
    """How often one thing (a job, an experiment) has met an error of the daemon."""

    def __init__(self) -> None:
        self._last: float | None = None

    def add(self) -> bool:
        """Count one. True if the one before was a short time ago."""
        now, last = time.monotonic(), self._last
        self._last = now
        return last is not None and now - last < CRASH_SECONDS


def describe_error(error: BaseException) -> str:
    """An error as the row of a job or experiment holds it: what happened, and for component code the traceback of its
    own process."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(map(describe_error, leaves(error))))
    fault = fault_of(error)
    if isinstance(error, ComponentFailed) and fault.traceback:
        return f"{fault.message}\n\n{fault.traceback}".rstrip()
    return fault.message


def describe_crash(error: BaseException, experiment: str) -> str:
    """An error of the daemon that has come again."""
    return (
        f"{describe_error(error)}\nset aside: this error of the sandbox came twice within {CRASH_SECONDS:g} seconds. "
        f"The daemon's log has its traceback; `sandbox resume {experiment}` tries again"
    )


def crash(record: Path, error: BaseException) -> NoReturn:
    """End this process by `error`, now. What happened is in its log, and in the file `record`."""
    if is_expected(error):
        log.error("%s", describe_error(error))
    else:
        log.critical("the daemon ends by an error of its own; its workers continue", exc_info=error)
        with suppress(OSError):
            add_crash(record, Crash(time=time.time(), pid=os.getpid(), error=bounded_line(describe_error(error), 500)))
    logging.shutdown()
    os._exit(1 if is_expected(error) else STATUS)


def refuse_crash_loop(record: Path) -> None:
    """Raises Refused where daemons of this home crash one after the other."""
    crashes = recent_crashes(record)
    if len(crashes) >= MOST_CRASHES:
        raise Refused(
            f"the daemon crashed {len(crashes)} times within {CRASH_SECONDS:g} seconds, the last time by "
            f"{crashes[-1].error}. No other is started before that time is over; its log has the traceback"
        )
