"""A component for a benchmark, which prints at a given rate or as fast as possible."""

from __future__ import annotations

import os
import time
from typing import Any

from components.base import BaseModelExecutor


class Prints(BaseModelExecutor):
    """Prints `lines` lines, `rate` per second, with a write each millisecond. The metric of a line is the time at which
    it was written, its step is the number of the line."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> float:
        lines, rate = self.model_config["lines"], self.model_config["rate"]
        started = time.time()
        written = 0
        while written < lines:
            due = min(lines, int((time.time() - started) * rate) + 1)
            now = time.time()
            os.write(1, b"".join(b"line %d %.6f\n" % (number, now) for number in range(written, due)))
            written = due
            time.sleep(0.001)  # noqa: ASYNC251 - trainers block their event loop too
        return time.time() - started

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("line "):
            _, number, written = line.split()
            self.watcher.watch(float(written), "written", step=int(number))
