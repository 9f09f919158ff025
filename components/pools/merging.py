"""Merging: concatenates pools."""

from __future__ import annotations

import os

from components.pools.formats import common_prefix
from components.pools.open_pool import claim, meet, open_pools
from components.pools.pool_settings import PoolJob, PoolSettings, Prefix, Texts
from components.pools.progress import Bar
from components.pools.writing import Outputs


class MergingSettings(PoolSettings, frozen=True, kw_only=True):
    job = "data_pool_merging"

    dataset_path: Texts
    default_prefix: Prefix = "default_prefix"


class DataPoolMerging(PoolJob):
    """Writes all samples of all pools, in the order of `dataset_path`, into one; returns its path.

    dataset_path    the pools, one or a list
    export_path     the folder of `<common prefix of the pools' names>_merged.jsonl`
    default_prefix  the prefix if the names have none in common (default `default_prefix`)
    """

    settings_type = MergingSettings

    def run(self) -> str:
        settings = MergingSettings.read(self.data_pool_cfg)
        paths, folder = settings.paths(), settings.folder()
        prefix = common_prefix(paths, settings.default_prefix)
        with open_pools(paths, folder) as pools, Outputs() as outputs:
            format = meet(pools)
            target = os.path.join(folder, f"{prefix}_merged{format}")
            claim(settings, paths, [target])
            total = sum(map(len, pools))
            with pools[0].writer(outputs, target, format) as out, Bar("merging", total) as bar:
                for pool in pools:
                    pool.write(out, bar=bar)
        print(f"{total} samples of {len(paths)} pools written to {target}")
        return target
