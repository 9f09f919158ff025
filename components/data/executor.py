"""Processes a dataset by a recipe with Data-Juicer's DefaultExecutor, or draws a sample from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.data.juicer import Juicer, RecipeComponent
from components.data.recipe import recipe_error
from components.data.sampling import ALGO, RATIO, probe_of
from sandbox_actors.errors import ComponentFailed


class DataExecutor(RecipeComponent):
    """`config` is a recipe. `run` processes its dataset, `run("sample")` draws from it (see `sampling.py`).

    Returns a mapping: `export_path`, a list of paths if the recipe asks for shards, and the numbers of samples: read
    (`samples_in`), and kept or drawn (`samples_kept` or `samples`). Samples without text are not counted.
    """

    def run(self, task: str = "process") -> dict[str, Any]:
        juicer: Juicer = self.loaded or self.load()
        return self._sample(juicer) if task == "sample" else self._process(juicer)

    def _process(self, juicer: Juicer) -> dict[str, Any]:
        with juicer.job(self.config) as job:
            executor = juicer.DefaultExecutor(job.config)
            dataset = job.load(executor.dataset_builder)
            processed = executor.run(dataset=dataset)
            exported, _ = job.deliver()
        result = {"export_path": exported, "samples_in": len(dataset), "samples_kept": len(processed)}
        print("{samples_kept} of {samples_in} samples kept, written to {export_path}".format(**result))
        return result

    def _sample(self, juicer: Juicer) -> dict[str, Any]:
        probe = probe_of(self.config)
        recipe = {key: value for key, value in self.config.items() if key not in (RATIO, ALGO)} | {"process": []}
        with juicer.job(recipe, keep_stats_in_res_ds=True, keep_hashes_in_res_ds=True) as job:
            executor = juicer.DefaultExecutor(job.config)
            dataset = job.load(executor.dataset_builder)
            places = probe.choose(len(dataset), lambda key: _values(dataset, key))
            if not places:
                raise ComponentFailed(f"{probe.algorithm} found no sample to draw in {job.source}")
            executor.exporter.export_stats = False
            executor.exporter.export(dataset.select(places))
            exported, _ = job.deliver()
        result = {"export_path": exported, "samples_in": len(dataset), "samples": len(places)}
        print("{samples} of {samples_in} samples drawn, written to {export_path}".format(**result))
        return result


def _values(dataset: Any, key: str) -> Sequence[Any]:
    """The value at a dotted key in each sample. Raises ConfigError if no sample has one."""
    column, *below = key.split(".")
    values = list(dataset[column]) if column in dataset.column_names else []
    for part in below:
        values = [value.get(part) if isinstance(value, dict) else None for value in values]
    if not any(value is not None for value in values):
        raise recipe_error(ALGO, f"no sample has the key {key!r}; the columns are {', '.join(dataset.column_names)}")
    return values
