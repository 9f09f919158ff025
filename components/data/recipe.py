"""Checks of recipes that do not need Data-Juicer: their keys, errors about them, and whether the dataset exists."""

from __future__ import annotations

import json
import pkgutil
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox_actors.errors import ConfigError, Problem

RECIPE_KEYS: tuple[str, ...] = tuple(json.loads(pkgutil.get_data(__package__, "settings.json") or b"[]"))
"""The keys of a recipe, written by `components/data/operators.py`."""


def recipe_error(path: str, message: str) -> ConfigError:
    """`path` is the dotted key in the recipe that the message is about."""
    return ConfigError([Problem("recipe", path, message)])


def dataset_files(dataset_path: str) -> list[str]:
    """The paths in a `dataset_path`, which may contain weights: `0.3 a.jsonl 0.7 b.jsonl`."""
    if Path(dataset_path).exists():
        return [dataset_path]
    return [part for part in shlex.split(dataset_path) if not _is_number(part)]


def check_dataset(recipe: Mapping[str, Any]) -> None:
    """Raises ConfigError if the recipe names no dataset, or a file that is missing or empty.

    Data-Juicer would take the name of a missing file for that of a dataset on a hub.
    """
    if recipe.get("dataset") or recipe.get("generated_dataset_config"):
        return
    path = recipe.get("dataset_path")
    if not isinstance(path, str) or not path:
        raise recipe_error("dataset_path", "missing: the path of the input dataset")
    for each in dataset_files(path):
        if not Path(each).exists():
            raise recipe_error("dataset_path", f"{each} does not exist (searched from {Path.cwd()})")
        if Path(each).is_file() and not Path(each).stat().st_size:
            raise recipe_error("dataset_path", f"{each} is empty")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
