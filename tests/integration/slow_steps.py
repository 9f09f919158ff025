"""`python slow_steps.py FILE`: a daemon that writes every step of a task which took long to FILE, a line each.

A step is what a task does between two awaits, when nothing else in the event loop can run. Its time is that of the
processor in this thread, which a busy machine does not change: seconds, and the name of the task.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import trio

from sandbox_actors.daemon import main as daemon

LONG = 0.03


class SlowSteps(trio.abc.Instrument):
    def __init__(self, file: Path) -> None:
        self._file, self._started = file.open("a", buffering=1), time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._started = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.thread_time() - self._started
        if took > LONG:
            self._file.write(f"{took:.3f} {task.name}\n")


if __name__ == "__main__":
    slow, serve = SlowSteps(Path(sys.argv.pop())), daemon.serve

    async def watched(*arguments: object) -> None:
        trio.lowlevel.add_instrument(slow)
        await serve(*arguments)  # type: ignore[arg-type]

    daemon.serve = watched  # type: ignore[assignment]
    sys.exit(daemon.main())
