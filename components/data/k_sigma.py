"""Refines a recipe by k-sigma: its bounds are moved to the range of the data.

For a statistic with mean m and standard deviation s (ddof 1) over all samples, a lower bound becomes m - k s and an
upper bound m + k s, by default with k = 3: the three-sigma rule as Data-Juicer's hyper-parameter tool applies
it (`tools/hpo/execute_hpo_3sigma.py` in py-data-juicer). Unlike there,

- each bound is computed from its own statistic, and flags are not changed (`bounds.py`);
- integer bounds stay integers, rounded outwards; other bounds keep six digits, rounded outwards too; sizes ("20kb")
  and ratios ("9/21") keep their form;
- a bound stays in the range of its statistic: no negative lengths, no ratios above 1.

Only bounds in the recipe are moved. If one cannot be moved, it stays, and the table says why.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from components.data.bounds import NO_COLUMNS, Bound, BoundChange, Columns, bounds_of, changed
from components.data.refining import Refiner


def refine(
    recipe: Mapping[str, Any],
    mean: Mapping[str, float],
    std: Mapping[str, float],
    k: float = 3.0,
    columns: Columns = NO_COLUMNS,
) -> tuple[dict[str, Any], list[BoundChange]]:
    """A copy of the recipe with its bounds moved, and the change of each bound, in the recipe's order.

    With `columns`, the samples that each bound excludes are counted.
    """
    refined = copy.deepcopy(dict(recipe))
    return refined, [_moved(bound, mean, std, k, columns) for bound in bounds_of(refined)]


def _moved(
    bound: Bound, mean: Mapping[str, float], std: Mapping[str, float], k: float, columns: Columns
) -> BoundChange:
    found = [name for name in bound.statistics if _is_finite(mean.get(name)) and _is_finite(std.get(name))]
    reason = bound.obstacle
    if not reason and len(found) != 1:
        reason = f"the analysis has {'several of' if found else 'no'} {', '.join(bound.statistics)}"
    if reason:
        return changed(bound, reason=reason)
    value = mean[found[0]] + (-k if bound.is_lower else k) * std[found[0]]
    return changed(bound, bound.written(value, found[0]), found[0], columns=columns)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


class KSigmaRefiner(Refiner):
    """Refines a recipe and writes the new one.

    recipe               the recipe, a mapping
    path_k_sigma_recipe  the path of the refined recipe: .yaml, .yml or .json
    k                    default 3
    analysis             {row: {statistic: number}} with rows `mean` and `std`, as the analyzer returns it, and
                         {"files": {"dataset": ...}}; if it is missing, the recipe's own dataset is analysed
    dataset_path         the analysed dataset whose excluded samples are counted (default: that of the analysis)

    `run` returns a mapping: `path`, `changes`, the moved bounds, and `bounds`, the change of each bound.
    """

    required = ("path_k_sigma_recipe",)
    reads = ("dataset_path",)
    keys = (*required, *reads, "k", "analysis")

    path_key = "path_k_sigma_recipe"
    method = "k-sigma"

    def run(self) -> dict[str, Any]:
        path, recipe = self.path(), self.recipe()
        k = float(self.config.get("k") or 3)
        analysis = self.config.get("analysis") or {}
        if not analysis.get("mean"):
            analysis, columns = self.analyse(recipe)
        else:
            columns = self.columns(self.config.get("dataset_path") or analysis.get("files", {}).get("dataset"))
        refined, changes = refine(recipe, analysis.get("mean", {}), analysis.get("std", {}), k, columns)
        return self.deliver(refined, path, changes, f"k-sigma, k = {k:g}")
