"""Downsampling: as many samples of each pool, drawn at random."""

from __future__ import annotations

import os

from components.base import BaseDataPoolManipulator
from components.pools.formats import name_of
from components.pools.open_pool import Pool, claim, open_pools
from components.pools.pool_settings import Settings
from components.pools.progress import Bar
from components.pools.writing import Outputs


class DataPoolDownsampling(BaseDataPoolManipulator):
    """Draws `target_num_samples` of each pool, none twice, in random order; returns the paths, pool by pool.

    dataset_path        the pools, one or a list
    export_path         the folder of `<name>_<target_num_samples>.jsonl`
    target_num_samples  default: the size of the smallest pool. A pool that has fewer is taken whole, in random order
    shuffle_seed        of the draw, the same for each pool (default 42)

    Drawn are the first of numpy's `default_rng(shuffle_seed).permutation`, as by Hugging Face datasets: equal seeds
    draw the samples that Data-Juicer Sandbox draws.
    """

    def run(self) -> list[str]:
        settings = Settings(self.data_pool_cfg, "data_pool_downsampling")
        paths, folder, seed = settings.paths(), settings.folder(), settings.seed()
        asked = settings.count("target_num_samples")
        with open_pools(paths, folder) as pools, Outputs() as outputs:
            target = asked or min(map(len, pools))
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
    short = f", all there are: fewer than the {count} asked for" if len(drawn) < count else ""
    print(f"{len(drawn)} of {len(pool)} samples of {pool.path} written to {target}{short}")
