"""Duplication: repeats a pool several times."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec

from components.pools.formats import name_of
from components.pools.open_pool import Pool, claim, open_pools
from components.pools.pool_settings import Count, PoolJob, PoolSettings, Seed, Texts
from components.pools.progress import Bar
from components.pools.writing import Outputs


class DuplicationSettings(PoolSettings, frozen=True, kw_only=True):
    job = "data_pool_duplication"

    dataset_path: Texts
    duplicating_times: Count | Annotated[list[Count], msgspec.Meta(min_length=1)]
    shuffle: bool | None = None
    shuffle_seed: Seed | None = None


class DataPoolDuplication(PoolJob):
    """Writes each pool repeated by each of `duplicating_times`; returns the paths, pool by pool.

    dataset_path       the pools, one or a list
    export_path        the folder of `<name>_x<times>.jsonl`
    duplicating_times  different whole numbers of at least 1
    shuffle            whether the samples are in random order (default: if there is a `shuffle_seed`);
                       otherwise the whole pool is repeated
    shuffle_seed       of that order (default 42)

    The random order is numpy's `default_rng(shuffle_seed).permutation` of all samples written, as in Hugging Face
    datasets: the same seed gives the same order as in Data-Juicer Sandbox.
    """

    settings_type = DuplicationSettings

    def run(self) -> list[str]:
        settings = DuplicationSettings.read(self.data_pool_cfg)
        paths, folder, times = settings.paths(), settings.folder(), _times(settings)
        is_shuffled = settings.shuffle_seed is not None if settings.shuffle is None else settings.shuffle
        seed = (42 if settings.shuffle_seed is None else settings.shuffle_seed) if is_shuffled else None
        with open_pools(paths, folder) as pools, Outputs() as outputs:
            planned = [
                (pool, count, os.path.join(folder, f"{name_of(pool.path)}_x{count}{pool.format}"))
                for pool in pools
                for count in times
            ]
            written = [target for _, _, target in planned]
            claim(settings, paths, written)
            for pool, count, target in planned:
                _duplicate(pool, count, seed, outputs, target)
        return written


def _times(settings: DuplicationSettings) -> list[int]:
    given = settings.duplicating_times
    times = [given] if isinstance(given, int) else given
    if len(set(times)) < len(times):
        raise settings.problem("duplicating_times", f"the numbers must differ: {given!r}")
    return times


def _duplicate(pool: Pool, times: int, seed: int | None, outputs: Outputs, target: str) -> None:
    import numpy as np

    total = times * len(pool)
    with pool.writer(outputs, target) as out, Bar(f"writing {os.path.basename(target)}", total) as bar:
        if seed is None:
            for _ in range(times):
                pool.write(out, bar=bar)
        else:
            pool.write(out, np.random.default_rng(seed).permutation(total) % len(pool), bar)
    print(f"{total} samples written to {target}")
