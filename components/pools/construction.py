"""Construction: sorts an analysed dataset by each of its stats, and cuts it into pools."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from components.pools.formats import name_of
from components.pools.open_pool import Pool, claim, open_pool
from components.pools.pool_settings import Count, PoolJob, PoolSettings, Texts
from components.pools.progress import Bar
from components.pools.writing import Outputs
from sandbox_actors.errors import ComponentFailed

THIRDS = [1.0 / 3.0, 2.0 / 3.0]


class ConstructionSettings(PoolSettings, frozen=True, kw_only=True):
    job = "data_pool_construction"

    dataset_path: Texts
    split_ratios: Any = None
    split_num: Count | None = None
    ignore_stats: bool = False


class DataPoolConstruction(PoolJob):
    """Writes the parts of each dataset by each stat; returns the paths, dataset by dataset, stat by stat.

    dataset_path  analysed datasets, one or a list: each sample has its stats under `__dj__stats__`
    export_path   the folder of `<stat>/<name>_<stat>_<part>.jsonl`; part 0 has the smallest values
    split_ratios  the shares of the samples at which they are cut, ascending between 0 and 1; numbers, or texts like
                  "1/3" (default 1/3 and 2/3). A cut is rounded half up to a whole number of samples
    split_num     the number of samples in each part instead; overrides `split_ratios`
    ignore_stats  cut in the given order instead, into `<name>_ignore_stats_<part>.jsonl` (default false)

    The sort is stable, and each one starts from the result of the previous one: samples with equal values of a stat are
    in the order of the previous stat, for the first stat in that of the dataset, as in Data-Juicer Sandbox.
    """

    settings_type = ConstructionSettings

    def run(self) -> list[str]:
        settings = ConstructionSettings.read(self.data_pool_cfg)
        paths, folder = settings.paths(), settings.folder()
        ratios, count = split_ratios(settings), settings.split_num
        claim(settings, paths, [os.path.join(folder, name_of(path)) for path in paths])
        written: list[str] = []
        with Outputs() as outputs:
            for path in paths:
                pool = open_pool(path, folder)
                try:
                    points = split_points(len(pool), ratios, count)
                    made = (
                        _cut(pool, points, folder, outputs)
                        if settings.ignore_stats
                        else _sort(pool, points, folder, outputs)
                    )
                    claim(settings, paths, made)
                    written += made
                finally:
                    pool.close()
        return written


def split_ratios(settings: ConstructionSettings) -> list[float]:
    """The shares at which samples are cut. Raises ConfigError unless they ascend between 0 and 1."""
    given = THIRDS if settings.split_ratios is None else settings.split_ratios
    values = given if isinstance(given, list) else [given]
    try:
        ratios = [float(Fraction(value)) for value in values if not isinstance(value, bool)]
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        ratios = []
    wanted = "shares between 0 and 1, as numbers or as texts like '1/3', are required"
    if len(ratios) < len(values) or not all(0 < ratio < 1 for ratio in ratios):
        raise settings.problem("split_ratios", f"{wanted}, not {given!r}")
    if any(one >= other for one, other in pairwise(ratios)):
        raise settings.problem("split_ratios", f"the shares must ascend: {given!r}")
    return ratios


def split_points(total: int, ratios: Sequence[float], count: int | None) -> list[int]:
    """The start of each part, and the end of the last one."""
    inner = range(count, total, count) if count else [int(total * ratio + 0.5) for ratio in ratios]
    return [0, *inner, total]


def _cut(pool: Pool, points: list[int], folder: str, outputs: Outputs) -> list[str]:
    parts = [range(begin, end) for begin, end in pairwise(points)]
    return _write(pool, parts, os.path.join(folder, f"{name_of(pool.path)}_ignore_stats"), outputs)


def _sort(pool: Pool, points: list[int], folder: str, outputs: Outputs) -> list[str]:
    import numpy as np

    written: list[str] = []
    order: Any = None
    stats = pool.stats()
    for stat in list(stats):
        if os.sep in stat or stat in ("", ".", ".."):
            raise ComponentFailed(f"{pool.path}: the stat {stat!r} cannot be the name of a folder; rename it")
        values = stats.pop(stat) if order is None else stats.pop(stat)[order]
        steps = np.argsort(values, kind="stable")
        del values
        order = steps.astype(np.uint32 if len(pool) < 2**32 else np.int64) if order is None else order[steps]
        del steps
        parts = [order[begin:end] for begin, end in pairwise(points)]
        written += _write(pool, parts, os.path.join(folder, stat, f"{name_of(pool.path)}_{stat}"), outputs)
    return written


def _write(pool: Pool, parts: list[Any], beginning: str, outputs: Outputs) -> list[str]:
    targets = [f"{beginning}_{number}{pool.format}" for number in range(len(parts))]
    with Bar(f"writing {os.path.basename(beginning)}", len(pool)) as bar:
        for target, rows in zip(targets, parts, strict=True):
            with pool.writer(outputs, target) as out:
                pool.write(out, rows, bar)
    sizes = ", ".join(str(len(rows)) for rows in parts)
    print(f"{len(parts)} pools of {sizes} samples: {beginning}_*{pool.format}")
    return targets
