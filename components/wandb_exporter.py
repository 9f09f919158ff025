"""Exports an experiment from the daemon's store to a wandb run, in a process whose failure harms nothing else."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol

from components.base import Component
from sandbox_actors.protocol.rows import MetricRow
from sandbox_actors.protocol.worker_requests import Pulled

WAIT = 20.0
"""Seconds that a request waits for new metrics."""

CONFIG_PREFIX = "cfgs."
"""Prefix of what `watch_cfgs` recorded: it belongs to a run's config, not to its history."""


class MetricSource(Protocol):
    def pull(self, after: int, wait: float) -> Pulled: ...


class WandbExporter(Component):
    """`config`: project, name, dir, mode (empty: online if a key is found, else offline), and `is_prefixed`: the
    experiment has several pipelines, so metric names start with that of their pipeline.

    `run` returns the run's folder when the experiment has ended and all of its metrics are exported.
    """

    def __init__(self, config: Mapping[str, Any], watcher: MetricSource) -> None:
        self.config = config
        self.watcher = watcher

    def load(self) -> Any:
        import wandb

        return wandb

    def run(self) -> str:
        wandb = self.loaded or self.load()
        os.makedirs(self.config["dir"], exist_ok=True)
        run = wandb.init(
            project=self.config["project"],
            name=self.config["name"],
            entity=self.config.get("entity") or None,
            dir=self.config["dir"],
            mode=self.config.get("mode") or ("online" if wandb.login(prompt=False) else "offline"),
            reinit="create_new",
            settings=wandb.Settings(console="off", x_disable_stats=True),
        )
        try:
            self._export(run)
        finally:
            run.finish()
        return str(pathlib.Path(run.dir).parent)

    def _export(self, run: Any) -> None:
        known: set[str] = set()
        after, is_finished = 0, False
        while not is_finished:
            pulled = self.watcher.pull(after, WAIT)
            for row in pulled.metrics:
                self._log(run, row, known)
            after, is_finished = pulled.next, pulled.finished

    def _log(self, run: Any, row: MetricRow, known: set[str]) -> None:
        if row.name.startswith(CONFIG_PREFIX):
            run.config.update({row.name.removeprefix(CONFIG_PREFIX): row.value}, allow_val_change=True)
            return
        name = f"{row.pipeline}.{row.name}" if self.config.get("is_prefixed") and row.pipeline else row.name
        if row.step is None:
            run.summary[name] = row.value
        if isinstance(row.value, str) or row.value is None or not math.isfinite(row.value):
            return
        if row.step is None:
            run.log({name: row.value})
            return
        # Each metric has its own axis, because several trainings count their steps from 0.
        axis = f"step/{name}"
        if name not in known:
            run.define_metric(name.replace(".", "\\."), step_metric=axis.replace(".", "\\."))
            known.add(name)
        run.log({name: row.value, axis: row.step})
