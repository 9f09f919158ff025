"""A component for the benchmark: prints the time, again and again."""

from __future__ import annotations

import time
from typing import Any

from components.base import BaseModelExecutor


class Ticks(BaseModelExecutor):
    """`lines` lines, `pause` seconds apart; the metric is the time at which its line was written."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> None:
        for _ in range(self.model_config["lines"]):
            print(f"tick {time.time()}")
            time.sleep(self.model_config["pause"])

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("tick "):
            self.watcher.watch(float(line[5:]), "tick", step=0)
