"""Components for tests of what the daemon survives."""

from __future__ import annotations

import os
import time
from typing import Any

from components.base import BaseModelExecutor


class Ticks(BaseModelExecutor):
    """Each 50 ms prints a number and watches it too, until the file `gate` exists. Returns its pid and the last
    number."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> tuple[int, int]:
        number = 0
        while True:
            is_last = os.path.exists(self.model_config["gate"])
            number += 1
            print(f"tick {number}")
            self.watcher.watch(number, "watched", step=number)
            if is_last:
                return os.getpid(), number
            time.sleep(0.05)

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("tick "):
            self.watcher.watch(int(line.split()[1]), "printed", step=int(line.split()[1]))


class Notes(BaseModelExecutor):
    """Adds its `token` to the file `runs`, prints and watches that it has begun, waits for the file `gate` if it has
    one, and ends with its token, or raises the first `fails` times."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        config = self.model_config
        with open(config["runs"], "a+") as runs:
            runs.write(f"{config['token']}\n")
            runs.flush()
            runs.seek(0)
            count = runs.read().split().count(config["token"])
        print(f"begun {count}")
        self.watcher.watch(count, "watched", step=count)
        while "gate" in config and not os.path.exists(config["gate"]):
            time.sleep(0.01)
        if count <= config.get("fails", 0):
            raise ValueError("as it was told")
        return str(config["token"])

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("begun "):
            self.watcher.watch(int(line.split()[1]), "printed", step=int(line.split()[1]))
