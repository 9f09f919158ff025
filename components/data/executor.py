"""The executor: a dataset processed by a recipe, by Data-Juicer's own DefaultExecutor."""

from __future__ import annotations

from typing import Any

from components.data.juicer import Juicer, RecipeComponent


class DataExecutor(RecipeComponent):
    """`config` is a recipe.

    `run` returns a mapping: `export_path`, a list of paths where the recipe asks for shards, and how many samples went
    in and were kept (`samples_in`, `samples_kept`; samples without any text count as neither).
    """

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
