"""The executor: a dataset processed by a recipe, by Data-Juicer's own DefaultExecutor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.base import Component
from components.data.juicer import Juicer


class DataExecutor(Component):
    """`config` is a recipe.

    `run` returns a mapping: `export_path`, a list of paths where the recipe asks for shards, and how many samples went
    in and were kept (`samples_in`, `samples_kept`; samples without any text count as neither).
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def load(self) -> Juicer:
        return Juicer()

    def unload(self) -> None:
        if self.loaded is not None:
            self.loaded.close()
        super().unload()

    def run(self) -> dict[str, Any]:
        juicer: Juicer = self.loaded or self.load()
        with juicer.job(self.config) as job:
            executor = juicer.DefaultExecutor(job.config)
            dataset = job.load(executor.dataset_builder)
            processed = executor.run(dataset=dataset)
            exported, _ = job.deliver()
        result = {"export_path": exported, "samples_in": len(dataset), "samples_kept": len(processed)}
        print("{samples_kept} of {samples_in} samples kept, written to {export_path}".format(**result))
        return result
