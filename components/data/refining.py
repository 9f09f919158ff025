"""The common part of the refinements of a recipe: reads recipe and statistics, writes and reports the result."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.base import Component, Config
from components.data.bounds import BoundChange, Columns
from components.data.jsonl import read_lines
from components.data.recipe import recipe_error
from sandbox_actors.errors import ConfigError, Problem
from sandbox_actors.files import write_whole

STATS = "__dj__stats__"
"""The key of an analysed sample's statistics."""


class Refiner(Component):
    """Base. `path_key`: the setting with the path of the refined recipe. `method`: its name in errors."""

    env = "data-juicer"
    path_key = method = ""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = Config(config)

    def path(self) -> Path:
        path = self.config.get(self.path_key)
        if not isinstance(path, str) or Path(path).suffix not in (".yaml", ".yml", ".json"):
            raise self.error(self.path_key, f"must be the path of a .yaml, .yml or .json file to write, not {path!r}")
        return Path(path).absolute()

    def recipe(self) -> dict[str, Any]:
        recipe = self.config.get("recipe")
        if not isinstance(recipe, Config) or not isinstance(recipe.get("process"), list):
            raise recipe_error("process", "the recipe to refine has no list of operators")
        return recipe.as_dict()

    def columns(self, dataset: Any) -> Columns:
        """The statistics of an analysed dataset; empty if none is named, or if it no longer exists."""
        if not isinstance(dataset, str) or not os.path.isfile(dataset):
            return {}
        return read_columns(Path(dataset))

    def analyse(self, recipe: Mapping[str, Any]) -> tuple[dict[str, Any], Columns]:
        """The overall analysis of the recipe's own dataset, and its statistics."""
        from components.data.analyzer import DataAnalyzer

        with tempfile.TemporaryDirectory(prefix="refining-") as folder:
            result = DataAnalyzer({**recipe, "export_path": f"{folder}/analysed.jsonl"}).run()
            return result["overall"], self.columns(result["export_path"])

    def deliver(self, recipe: Mapping[str, Any], path: Path, changes: list[BoundChange], how: str) -> dict[str, Any]:
        """Write the recipe with its changes as comments, print the table, and return the job's result."""
        moved = [change for change in changes if change.after != change.before]
        comments = [f"refined by {how}", *map(str, moved)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _content(recipe, path, comments).encode())
        print(table(changes) or "the recipe has no bound of a statistic, so nothing was changed")
        return {
            "path": str(path),
            "changes": [asdict(each) for each in moved],
            "bounds": [asdict(each) for each in changes],
        }

    def error(self, key: str, message: str) -> ConfigError:
        return ConfigError([Problem(self.method, key, message)])


def read_columns(path: Path) -> dict[str, list[Any]]:
    """Each statistic of an analysed dataset, in the order of its samples; None if a sample does not have it."""
    columns: dict[str, list[Any]] = {}
    for place, line in enumerate(read_lines(path)):
        stats = line.sample.get(STATS)
        for name, value in (stats if isinstance(stats, dict) else {}).items():
            column = columns.setdefault(name, [])
            column += [None] * (place - len(column))
            column.append(value)
    longest = max(map(len, columns.values()), default=0)
    return {name: [*column, *[None] * (longest - len(column))] for name, column in columns.items()}


def table(changes: list[BoundChange]) -> str:
    """One line for each bound."""
    heads = ("operator", "parameter", "before", "after", "go before", "go after", "by")
    rows = [
        tuple("" if cell is None else str(cell) for cell in cells)
        for cells in (
            (c.operator, c.parameter, c.before, c.after, c.gone_before, c.gone_after, c.reason or c.statistic)
            for c in changes
        )
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (heads, *rows)]
    return "\n".join(lines) if rows else ""


def _content(recipe: Mapping[str, Any], path: Path, comments: list[str]) -> str:
    """JSON has no comments."""
    if path.suffix == ".json":
        return json.dumps(recipe, indent=2, ensure_ascii=False) + "\n"
    yaml: Any = importlib.import_module("yaml")
    lines = "".join(f"# {line}\n" for line in comments)
    return lines + str(yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True))
