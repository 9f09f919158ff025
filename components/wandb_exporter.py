"""A wandb run for an experiment, fed from the daemon's store, in a process that may hang or die unnoticed."""

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
"""Seconds that one question for more metrics stays open."""

CONFIG_PREFIX = "cfgs."
"""Names of what `watch_cfgs` recorded: a run's config, not its history."""


class MetricSource(Protocol):
    def pull(self, after: int, wait: float) -> Pulled: ...


class WandbExporter(Component):
    """`config`: project, name, dir, mode (empty: online where a key is found, else offline), and whether the
    experiment has several pipelines (`is_prefixed`: metric names then start with their pipeline's).

    `run` returns, when the experiment has ended and all of its metrics are handed over, the run's folder.
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
        # Several trainings count their steps from 0: each metric gets an axis of its own.
        axis = f"step/{name}"
        if name not in known:
            run.define_metric(name.replace(".", "\\."), step_metric=axis.replace(".", "\\."))
            known.add(name)
        run.log({name: row.value, axis: row.step})
