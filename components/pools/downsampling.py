"""Downsampling: draws the same number of samples from each pool at random."""

from __future__ import annotations

import os

from components.pools.formats import name_of
from components.pools.open_pool import Pool, claim, open_pools
from components.pools.pool_settings import Count, PoolJob, PoolSettings, Seed, Texts
from components.pools.progress import Bar
from components.pools.writing import Outputs


class DownsamplingSettings(PoolSettings, frozen=True, kw_only=True):
    job = "data_pool_downsampling"

    dataset_path: Texts
    target_num_samples: Count | None = None
    shuffle_seed: Seed = 42


class DataPoolDownsampling(PoolJob):
    """Draws `target_num_samples` from each pool without repetition, in random order; returns the paths, pool by pool.

    dataset_path        the pools, one or a list
    export_path         the folder of `<name>_<target_num_samples>.jsonl`
    target_num_samples  default: the size of the smallest pool. A smaller pool is written whole, in random order
    shuffle_seed        of the draw, the same for each pool (default 42)

    The samples are the first ones of numpy's `default_rng(shuffle_seed).permutation`, as in Hugging Face datasets: the
    same seed draws the same samples as in Data-Juicer Sandbox.
    """

    settings_type = DownsamplingSettings

    def run(self) -> list[str]:
        settings = DownsamplingSettings.read(self.data_pool_cfg)
        paths, folder, seed = settings.paths(), settings.folder(), settings.shuffle_seed
        with open_pools(paths, folder) as pools, Outputs() as outputs:
            target = settings.target_num_samples or min(map(len, pools))
            written = [os.path.join(folder, f"{name_of(pool.path)}_{target}{pool.format}") for pool in pools]
            claim(settings, paths, written)
            for pool, path in zip(pools, written, strict=True):
                _draw(pool, target, seed, outputs, path)
        return written


def _draw(pool: Pool, count: int, seed: int, outputs: Outputs, target: str) -> None:
    import numpy as np

    drawn = np.random.default_rng(seed).permutation(len(pool))[:count]
    with pool.writer(outputs, target) as out, Bar(f"writing {os.path.basename(target)}", len(drawn)) as bar:
        pool.write(out, drawn, bar)
    short = f", the whole pool: {count} were asked for" if len(drawn) < count else ""
    print(f"{len(drawn)} of {len(pool)} samples of {pool.path} written to {target}{short}")
