"""A daemon that kills itself at its N-th commit or send: `crashing.py commit|send before|after N`."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from functools import partial
from typing import Any

from sandbox_actors.daemon.main import main as daemon
from sandbox_actors.store import connect
from sandbox_actors.transport.unix_router import UnixConnection


class Point:
    """The call at which the daemon kills itself: the `number`-th call of `wrap`."""

    def __init__(self, when: str, number: int) -> None:
        self._when, self._number, self._counter = when, number, itertools.count(1)

    def wrap(self, act: Any) -> Any:
        is_here = next(self._counter) == self._number
        if is_here and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = act()
        if is_here:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def main(what: str, when: str, number: str) -> int:
    point = Point(when, int(number))
    if what == "commit":

        class Dying(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                act = partial(super().execute, sql, *values)
                cursor: sqlite3.Cursor = point.wrap(act) if sql == "COMMIT" else act()
                return cursor

        connect.sqlite3.connect = partial(sqlite3.connect, factory=Dying)  # type: ignore[assignment]
    else:
        send = UnixConnection.send

        def dying(self: UnixConnection, *arguments: Any) -> None:
            point.wrap(partial(send, self, *arguments))

        UnixConnection.send = dying  # type: ignore[method-assign]
    return daemon([])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
