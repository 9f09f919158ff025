"""Combination: the common samples of pools, for every subset of the pools."""

from __future__ import annotations

import os
from typing import Any

from components.pools.formats import common_prefix
from components.pools.open_pool import Pool, claim, meet, open_pools
from components.pools.pool_settings import PoolJob, PoolSettings, Prefix, Texts
from components.pools.progress import Bar
from components.pools.writing import Outputs
from sandbox_actors.errors import ComponentFailed

MOST_RANKS = 63
"""The most pools that can be combined: each has a bit."""

MOST_FILES = 1 << 16
"""The most pools that a combination may write."""


class CombinationSettings(PoolSettings, frozen=True, kw_only=True):
    job = "data_pool_combination"

    dataset_path: Texts
    default_prefix: Prefix = "default_prefix"


class DataPoolCombination(PoolJob):
    """Writes, for every subset of the pools, the samples that are in all of them; returns the paths of non-empty ones.

    dataset_path    the pools, best first: their ranks are 0, 1, ...
    export_path     the folder of `<common prefix of the pools' names>_top_<ranks joined by _>_num_<samples>.jsonl`
    default_prefix  the prefix if the names have none in common (default `default_prefix`)

    Samples are equal if their content is (see components/pools/digests.py). Each is written once, with the bytes and in
    the order of the best pool of the subset. Paths are sorted by the number of pools, then by the last rank.
    """

    settings_type = CombinationSettings

    def run(self) -> list[str]:
        settings = CombinationSettings.read(self.data_pool_cfg)
        paths, folder = settings.paths(), settings.folder()
        prefix = common_prefix(paths, settings.default_prefix)
        if len(paths) > MOST_RANKS:
            raise settings.problem("dataset_path", f"at most {MOST_RANKS} pools can be combined, not {len(paths)}")
        with open_pools(paths, folder) as pools, Outputs() as outputs:
            format = meet(pools)
            members = membership(pools)
            planned = []
            for choice in choices(members):
                ranks = [rank for rank in range(len(pools)) if choice >> rank & 1]
                rows = _rows(members[ranks[0]], choice)
                named = f"{prefix}_top_{'_'.join(map(str, ranks))}_num_{len(rows)}{format}"
                planned.append((pools[ranks[0]], choice, len(rows), os.path.join(folder, named)))
            written = [target for _, _, _, target in planned]
            claim(settings, paths, written)
            with Bar("combining", sum(count for _, _, count, _ in planned)) as bar:
                for pool, choice, _, target in planned:
                    with pool.writer(outputs, target, format) as out:
                        pool.write(out, _rows(members[pools.index(pool)], choice), bar)
        print(f"{len(written)} pools of common samples written into {folder}")
        return written


def membership(pools: list[Pool]) -> list[Any]:
    """For each sample of each pool, the pools that contain it: bit r for the pool of rank r.

    0 for a sample that is a duplicate of an earlier one of its pool.
    """
    import numpy as np

    sizes = [len(pool) for pool in pools]
    first, second = np.empty(sum(sizes), np.uint64), np.empty(sum(sizes), np.uint64)
    ends = np.cumsum(sizes)
    for pool, end in zip(pools, ends.tolist(), strict=True):
        digests = pool.digests()
        first[end - len(pool) : end], second[end - len(pool) : end] = digests[:, 0], digests[:, 1]
        del digests
    order = np.lexsort((second, first))
    is_new = np.ones(len(order), bool)  # the first of equal samples, which are adjacent now, in the order of the pools
    is_new[1:] = np.diff(first[order]).astype(bool) | np.diff(second[order]).astype(bool)
    del first, second
    rank = np.searchsorted(ends, order, "right").astype(np.uint8)
    is_counted = is_new.copy()
    is_counted[1:] |= np.diff(rank).astype(bool)
    bits = np.bitwise_or.reduceat(np.left_shift(np.uint64(1), rank, dtype=np.uint64), np.flatnonzero(is_new))
    of_sample = np.zeros(len(order), np.uint64)
    of_sample[order[is_counted]] = bits[np.cumsum(is_new)[is_counted] - 1]
    return list(np.split(of_sample, ends[:-1]))


def choices(members: list[Any]) -> list[int]:
    """The subsets of the pools, as bits, with a common sample: by the number of pools, then by the last rank.

    Raises ComponentFailed if there are too many.
    """
    import numpy as np

    found: set[int] = set()
    for kind in sorted({int(bits) for each in members for bits in np.unique(each)} - {0}, reverse=True):
        if kind.bit_count() > MOST_FILES.bit_length():
            raise _too_many()
        choice = kind
        while choice:
            found.add(choice)
            choice = choice - 1 & kind
        if len(found) > MOST_FILES:
            raise _too_many()
    return sorted(found, key=lambda choice: (choice.bit_count(), choice))


def _too_many() -> ComponentFailed:
    return ComponentFailed(f"the pools have samples in common in more than {MOST_FILES} ways; combine fewer at a time")


def _rows(members: Any, choice: int) -> Any:
    import numpy as np

    return np.flatnonzero((members & np.uint64(choice)) == np.uint64(choice))
