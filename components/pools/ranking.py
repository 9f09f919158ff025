"""Ranking: sorts pools by their metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from components.base import BaseDataPoolManipulator
from components.pools.pool_settings import Count, JobSettings, Text, Texts, as_list
from sandbox_actors.dotted import readings


class RankingSettings(JobSettings, frozen=True, kw_only=True):
    job = "data_pool_ranking"

    dataset_path: Texts
    metrics: list[Any]
    ranking_keys: Text | list[Text] = []
    descending: bool = True
    top_n: Count | None = None


class DataPoolRanking(BaseDataPoolManipulator):
    """Returns `dataset_path` in the order of `metrics`; nothing is read or written.

    dataset_path  the pools, a list
    metrics       the metrics of each pool, in the same order: numbers, or mappings with numbers
    ranking_keys  dotted keys of numbers in the metrics: sort by the first, then by the second, and so on
                  (default: the metrics are numbers)
    descending    whether the highest comes first (default true); equal ones keep their order. A null, the result
                  of an evaluator that could not measure anything, is always last.
    top_n         the most pools to return (default: all)
    """

    env, is_light = "plain", True
    settings_type = RankingSettings

    def run(self) -> list[str]:
        settings = RankingSettings.read(self.data_pool_cfg)
        paths, metrics = as_list(settings.dataset_path), settings.metrics
        if len(metrics) != len(paths):
            raise settings.problem("metrics", f"one for each pool is required: {len(paths)}, not {len(metrics)}")
        if twice := [path for path in paths if paths.count(path) > 1]:
            raise settings.problem("dataset_path", f"{twice[0]} is named twice")
        keys, is_descending = as_list(settings.ranking_keys), settings.descending
        ranks = [
            [_number(settings, path, metric, key) for key in keys or [""]]
            for path, metric in zip(paths, metrics, strict=True)
        ]
        if all(rank[0] is None for rank in ranks):
            raise settings.problem("metrics", "null of every pool: nothing was measured of any")
        worst = -math.inf if is_descending else math.inf
        filled = [[worst if number is None else number for number in rank] for rank in ranks]
        order = sorted(range(len(paths)), key=filled.__getitem__, reverse=is_descending)[: settings.top_n]
        for place, index in enumerate(order):
            print(f"{place}: {paths[index]}: {', '.join(map(str, ranks[index]))}")
        return [paths[index] for index in order]


def _number(settings: RankingSettings, path: str, metric: Any, key: str) -> int | float | None:
    found = list(readings(metric, key)) if key else [metric]
    name = f"{key!r} of {path}" if key else f"the metric of {path}"
    if not found:
        raise settings.problem("metrics", f"{name} must be a number, but is missing")
    value = found[0]
    if value is None:
        return None
    if not isinstance(value, (int, float)) or math.isnan(value):
        hint = "; name the numbers in it by ranking_keys" if isinstance(value, Mapping) else ""
        raise settings.problem("metrics", f"{name} must be a number, not {value!r}{hint}")
    return value
