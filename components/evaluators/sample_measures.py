"""Figures for each sample of a dataset: how they are written and summarised."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.data.jsonl import stem
from components.inference.samples import read_samples, with_value, write_lines
from sandbox_actors.dotted import find_or_none
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem
from sandbox_actors.files import user_path

Figures = Mapping[str, float | None]


def dataset_of(dataset_path: str | None, eval_obj: Any, who: str) -> Path:
    """The dataset to measure: the one that the hook passes, else the config's. Raises ConfigError."""
    given = eval_obj if isinstance(eval_obj, str) else dataset_path
    if given is None:
        raise ConfigError([Problem(who, "dataset_path", "missing: the dataset to measure")])
    path = user_path(given).absolute()
    if not path.is_file():
        raise ConfigError([Problem(who, "dataset_path", f"{given} is not a file (searched from {Path.cwd()})")])
    return path


def target_of(export_path: str | None, dataset: Path) -> Path:
    """The path of the measured dataset: `export_path`, or by default `<name>_measured.jsonl` beside the dataset."""
    target = dataset.with_name(f"{stem(dataset)}_measured.jsonl") if export_path is None else Path(export_path)
    if target.suffix != ".jsonl":
        target = target / f"{stem(dataset)}_measured.jsonl"
    return user_path(target).absolute()


def text_of(item: Mapping[str, Any], key: str) -> str:
    """The text that a sample has under a dotted key; empty if there is none."""
    text = find_or_none(item, key)
    return text if isinstance(text, str) else ""


def write_measured(dataset: Path, target: Path, stats_key: str, figures: Sequence[Figures]) -> None:
    """Write the dataset with each sample's figures under the dotted `stats_key`; nothing else in it changes."""

    def lines() -> Iterable[str]:
        for sample, found in zip(read_samples(dataset), figures, strict=True):
            text = sample.text
            for name, value in found.items():
                text = with_value(text, [*stats_key.split("."), name], value)
            yield text

    write_lines(target, lines())


def summary(values: Iterable[float | None]) -> dict[str, float]:
    """Count, mean, std (n - 1), min, quartiles and max of the numbers among `values`, with the names that Data-Juicer's
    analyzer uses. Raises ComponentFailed if none of them is a number."""
    numbers = sorted(value for value in values if value is not None and math.isfinite(value))
    if not numbers:
        raise ComponentFailed("no sample could be measured")
    return {
        "count": len(numbers),
        "mean": math.fsum(numbers) / len(numbers),
        "std": statistics.stdev(numbers) if len(numbers) > 1 else 0.0,
        "min": numbers[0],
        **{f"{percent}%": _quantile(numbers, percent / 100) for percent in (25, 50, 75)},
        "max": numbers[-1],
    }


def _quantile(numbers: list[float], share: float) -> float:
    """Linearly interpolated, as pandas does."""
    place = share * (len(numbers) - 1)
    below = int(place)
    above = min(below + 1, len(numbers) - 1)
    return numbers[below] + (numbers[above] - numbers[below]) * (place - below)
