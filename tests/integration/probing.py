"""Components for the tests of probes, as in `faulty.py`: a sampler, a model that answers, an analyzer."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from components.base import BaseModelExecutor


class Samples:
    """A data executor that samples the first two lines, and prints its pid."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self, task: str) -> dict[str, Any]:
        print(f"{task} by {os.getpid()}")
        lines = pathlib.Path(self.config["dataset_path"]).read_text().splitlines(keepends=True)
        export = pathlib.Path(self.config["export_path"])
        export.parent.mkdir(parents=True, exist_ok=True)
        export.write_text("".join(lines[:2]))
        return {"export_path": str(export), "samples_in": len(lines), "samples": 2}


class Answers(BaseModelExecutor):
    """A probe of a model: returns the size of the sample, and its own arguments."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> dict[str, Any]:
        print(f"answers by {os.getpid()}")
        return {"bytes": len(pathlib.Path(run_obj).read_bytes()), "type": run_type, "sample": run_obj}


class Analyzes:
    """Returns what an analyzer returns, taken from its config."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> dict[str, Any]:
        return {name: self.config[name] for name in ("export_path", "analysis_path", "overall")}
