"""Ranking: pools in the order of what was measured of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from components.base import BaseDataPoolManipulator
from components.pools.pool_settings import Settings


class DataPoolRanking(BaseDataPoolManipulator):
    """Returns `dataset_path` in the order of `metrics`; nothing is read or written.

    dataset_path  the pools, a list
    metrics       what was measured of each: as many, in the same order; numbers, or mappings that hold them
    ranking_keys  dotted keys of numbers in the metrics: by the first, among equals by the second, and so on
                  (default: the metrics are numbers themselves)
    descending    whether the highest comes first (default true); equal ones stay in the given order
                  A null, which is what an evaluator gives that found nothing to measure, comes last either way.
    top_n         return so many at most (default: all)
    """

    def run(self) -> list[str]:
        settings = Settings(self.data_pool_cfg, "data_pool_ranking")
        paths, metrics = settings.texts("dataset_path"), settings.get("metrics", [])
        if not isinstance(metrics, list) or len(metrics) != len(paths):
            count = len(metrics) if isinstance(metrics, list) else f"no list, but {metrics!r}"
            raise settings.problem("metrics", f"as many as pools are wanted here: {len(paths)}, not {count}")
        if twice := [path for path in paths if paths.count(path) > 1]:
            raise settings.problem("dataset_path", f"{twice[0]} is named twice")
        keys = settings.texts("ranking_keys") if settings.get("ranking_keys") else []
        top, is_descending = settings.count("top_n"), settings.flag("descending", True)
        ranks = [
            [_number(settings, path, metric, key) for key in keys or [""]]
            for path, metric in zip(paths, metrics, strict=True)
        ]
        if all(rank[0] is None for rank in ranks):
            raise settings.problem("metrics", "null of every pool: nothing was measured of any")
        worst = -math.inf if is_descending else math.inf
        filled = [[worst if number is None else number for number in rank] for rank in ranks]
        order = sorted(range(len(paths)), key=filled.__getitem__, reverse=is_descending)[:top]
        for place, index in enumerate(order):
            print(f"{place}: {paths[index]}: {', '.join(map(str, ranks[index]))}")
        return [paths[index] for index in order]


def _number(settings: Settings, path: str, metric: Any, key: str) -> int | float | None:
    found = list(at(metric, key)) if key else [metric]
    name = f"{key!r} of {path}" if key else f"the metric of {path}"
    if not found:
        raise settings.problem("metrics", f"{name} has to be a number, and is not there")
    value = found[0]
    if value is None:
        return None
    if not isinstance(value, (int, float)) or math.isnan(value):
        hint = "; name the numbers in it by ranking_keys" if isinstance(value, Mapping) else ""
        raise settings.problem("metrics", f"{name} has to be a number, not {value!r}{hint}")
    return value


def at(metric: Any, dotted: str) -> Iterator[Any]:
    """What is at a dotted key, the best reading of it first: a key may have dots in it."""
    if not isinstance(metric, Mapping):
        return
    if dotted in metric:
        yield metric[dotted]
    parts = dotted.split(".")
    for length in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:length])
        if head in metric:
            yield from at(metric[head], dotted[len(head) + 1 :])
