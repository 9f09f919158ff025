"""A component for a benchmark, which prints the time repeatedly."""

from __future__ import annotations

import time
from typing import Any

from components.base import BaseModelExecutor


class Ticks(BaseModelExecutor):
    """Prints `lines` lines, `pause` seconds apart. The metric of a line is the time at which it was written."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> None:
        for _ in range(self.model_config["lines"]):
            print(f"tick {time.time()}")
            time.sleep(self.model_config["pause"])

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("tick "):
            self.watcher.watch(float(line[5:]), "tick", step=0)
