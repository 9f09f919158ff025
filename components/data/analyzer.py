"""Computes the statistics of a dataset, for each sample and overall, with Data-Juicer's Analyzer."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from components.data.juicer import Job, Juicer, RecipeComponent
from components.data.recipe import recipe_error

_NOT_NUMBERS = ("unique", "top", "freq")
"""Rows of the overall analysis that describe texts."""


class DataAnalyzer(RecipeComponent):
    """`config` is a recipe; `plots: true` in it adds Data-Juicer's plots to the analysis.

    `run` returns a mapping:

    export_path    the dataset with the statistics of each sample under `__dj__stats__`
    stats_path     only the statistics, one sample a line
    analysis_path  a folder with the overall analysis as a table, and the plots
    samples        the number of analysed samples
    overall        {row: {statistic: number}}, the rows count, mean, std, min, 25%, 50%, 75%, max
    """

    def run(self) -> dict[str, Any]:
        juicer: Juicer = self.loaded or self.load()
        with juicer.job(self.config, export_original_dataset=True) as job:
            analyzer = juicer.Analyzer(job.config)
            dataset = job.load(analyzer.dataset_builder)
            analyzer.run(dataset=dataset)
            if analyzer.overall_result is None:
                raise recipe_error("process", "none of its operators computes statistics, so nothing can be analysed")
            analysis = self._keep_analysis(Path(analyzer.analysis_path), job)
            exported, stats = job.deliver()
        result = {
            "export_path": exported,
            "stats_path": stats,
            "analysis_path": str(analysis),
            "samples": len(dataset),
            "overall": numbers(analyzer.overall_result),
        }
        print(f"{result['samples']} samples analysed, see {analysis}")
        return result

    @staticmethod
    def _keep_analysis(made: Path, job: Job) -> Path:
        """Move the analysis from the staging folder to one named after the export; a folder set by the recipe stays."""
        if job.owns(made):
            final = job.target.with_name(f"{job.target.stem}_analysis")
            final.unlink() if final.is_symlink() else shutil.rmtree(final, ignore_errors=True)
            return made.rename(final)
        return made


def numbers(table: Any) -> dict[str, dict[str, float]]:
    """The finite numbers in an overall analysis (a data frame), by row and statistic."""
    return {
        str(row): {
            str(column): float(value)
            for column, value in values.items()
            if not isinstance(value, str) and math.isfinite(value)
        }
        for row, values in table.iterrows()
        if row not in _NOT_NUMBERS
    }
