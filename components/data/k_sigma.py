"""Recipe refinement by k-sigma: bounds are moved to where the data are.

For a statistic with mean m and standard deviation s (ddof 1) over all samples, a lower bound becomes m - k s and an
upper bound m + k s, with k = 3 unless told otherwise: the three-sigma rule as Data-Juicer's hyper-parameter tool
applies it (`tools/hpo/execute_hpo_3sigma.py` in py-data-juicer). Unlike there,

- which parameter bounds which statistic is read off the operators' source (`operator_bounds.json`), so that an
  operator with several statistics gets each bound from its own, and flags such as `min_closed_interval` stay flags;
- integer bounds stay integers, rounded outwards; other bounds keep six digits, rounded outwards too;
- a bound is not moved past what its statistic can be: no negative lengths, no ratios above 1.

Only bounds that the recipe names are moved; a bound that cannot be moved is left, and the table says why.
"""

from __future__ import annotations

import copy
import importlib
import json
import math
import pkgutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from pathlib import Path
from typing import Any

from components.base import Component, Config
from components.data.recipe import recipe_error
from components.data.statistics import ANYTHING, RANGES, UNIT
from sandbox_actors.errors import ConfigError, Problem

_DIGITS = 6
_MEANT = 12
"""Digits of a computed bound that are not an artefact of binary arithmetic: 0.7 - 3 * 0.05 is meant to be 0.55."""


@dataclass(frozen=True, kw_only=True)
class BoundChange:
    """One bound of a recipe. `after` equals `before` where it was left, and `reason` then says why."""

    operator: str
    parameter: str
    before: Any
    after: Any
    statistic: str = ""
    reason: str = ""

    def __str__(self) -> str:
        what = f"{self.operator}.{self.parameter}: {self.before} -> {self.after}"
        return f"{what} ({self.reason or self.statistic})"


def refine(
    recipe: Mapping[str, Any], mean: Mapping[str, float], std: Mapping[str, float], k: float = 3.0
) -> tuple[dict[str, Any], list[BoundChange]]:
    """A copy of the recipe with its bounds moved, and what happened to each bound, in the recipe's order."""
    refined = copy.deepcopy(dict(recipe))
    known = operator_bounds()
    changes = []
    for entry in refined.get("process") or []:
        for operator, arguments in entry.items():
            for parameter, bound in known.get(operator, {}).items():
                if arguments and arguments.get(parameter) is not None:
                    change = _moved(operator, parameter, arguments, bound, mean, std, k)
                    arguments[parameter] = change.after
                    changes.append(change)
    return refined, changes


def operator_bounds() -> dict[str, dict[str, Any]]:
    """{operator: {parameter: {"side", "type", "stats"}}}, as written by `operators.py`."""
    content: dict[str, dict[str, Any]] = json.loads(pkgutil.get_data(__package__, "operator_bounds.json") or b"{}")
    return content


def _moved(
    operator: str,
    parameter: str,
    arguments: Mapping[str, Any],
    bound: Mapping[str, Any],
    mean: Mapping[str, float],
    std: Mapping[str, float],
    k: float,
) -> BoundChange:
    before = arguments[parameter]
    found = [name for name in bound["stats"] if _is_finite(mean.get(name)) and _is_finite(std.get(name))]
    reason = ""
    if isinstance(before, bool) or not isinstance(before, (int, float)):
        reason = "not a number"
    elif arguments.get("reversed_range"):
        reason = "its range is reversed"
    elif len(found) != 1:
        reason = f"the analysis has {'several of' if found else 'no'} {', '.join(bound['stats'])}"
    if reason:
        return BoundChange(operator=operator, parameter=parameter, before=before, after=before, reason=reason)
    statistic = found[0]
    is_lower = bound["side"] == "min"
    value = mean[statistic] + (-k if is_lower else k) * std[statistic]
    after = _rounded(_possible(value, statistic, bound["type"]), is_lower, bound["type"] == "int")
    return BoundChange(operator=operator, parameter=parameter, before=before, after=after, statistic=statistic)


def _possible(value: float, statistic: str, kind: str) -> float:
    lowest, highest = UNIT if kind == "ClosedUnitInterval" else RANGES.get(statistic, ANYTHING)
    return min(max(value, lowest), highest)


def _rounded(value: float, is_lower: bool, is_integer: bool) -> float:
    exact = Context(prec=_MEANT).create_decimal_from_float(value)
    if is_integer:
        return math.floor(exact) if is_lower else math.ceil(exact)
    return float(Context(prec=_DIGITS, rounding=ROUND_FLOOR if is_lower else ROUND_CEILING).plus(exact))


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


class KSigmaRefiner(Component):
    """Refines a recipe and writes the new one.

    recipe               the recipe, a mapping
    path_k_sigma_recipe  where the refined one is written: .yaml, .yml or .json
    k                    default 3
    analysis             {row: {statistic: number}} with rows `mean` and `std`, as the analyzer returns it; where it is
                         missing, the recipe's own dataset is analysed here

    `run` returns a mapping: `path`, and `changes`, the bounds that were moved.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = Config(config)

    def run(self) -> dict[str, Any]:
        path, recipe = self._path(), self._recipe()
        k = float(self.config.get("k") or 3)
        analysis = self.config.get("analysis") or self._analysis(recipe)
        refined, changes = refine(recipe, analysis.get("mean", {}), analysis.get("std", {}), k)
        moved = [change for change in changes if change.after != change.before]
        _write(refined, path, moved, k)
        print(_table(changes) or "the recipe names no bound of a statistic, so nothing was changed")
        return {"path": str(path), "changes": [asdict(change) for change in moved]}

    def _path(self) -> Path:
        path = self.config.get("path_k_sigma_recipe")
        if not isinstance(path, str) or Path(path).suffix not in (".yaml", ".yml", ".json"):
            problem = f"the path of a .yaml, .yml or .json file to be written is wanted here, not {path!r}"
            raise ConfigError([Problem("k-sigma", "path_k_sigma_recipe", problem)])
        return Path(path).absolute()

    def _recipe(self) -> dict[str, Any]:
        recipe = self.config.get("recipe")
        if not isinstance(recipe, Config) or not isinstance(recipe.get("process"), list):
            raise recipe_error("process", "the recipe to be refined has no list of operators")
        return recipe.as_dict()

    @staticmethod
    def _analysis(recipe: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        from components.data.analyzer import DataAnalyzer

        with tempfile.TemporaryDirectory(prefix="k-sigma-") as folder:
            result = DataAnalyzer({**recipe, "export_path": f"{folder}/analysed.jsonl"}).run()
        overall: dict[str, dict[str, float]] = result["overall"]
        return overall


def _write(recipe: Mapping[str, Any], path: Path, moved: list[BoundChange], k: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(recipe, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    yaml: Any = importlib.import_module("yaml")
    comments = [f"refined by k-sigma, k = {k:g}", *map(str, moved)]
    content = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
    path.write_text("".join(f"# {line}\n" for line in comments) + content, encoding="utf-8")


def _table(changes: list[BoundChange]) -> str:
    heads = ("operator", "parameter", "before", "after", "by")
    rows = [(c.operator, c.parameter, str(c.before), str(c.after), c.reason or c.statistic) for c in changes]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (heads, *rows)]
    return "\n".join(lines) if rows else ""
