"""The cartesian join: every sample of one pool with every sample of another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from components.pools.formats import PARQUET, common_prefix
from components.pools.open_pool import claim, meet, open_pools
from components.pools.parquet_pool import RowWriter
from components.pools.parsing import parsed
from components.pools.pool_settings import PoolJob, PoolSettings, Prefix, Texts
from components.pools.progress import Bar
from components.pools.writing import Outputs
from sandbox_actors.errors import ComponentFailed

HELD = 32 << 20
"""The largest second pool that is kept in memory, in bytes; a larger one is read for each sample of the first."""


class CartesianJoinSettings(PoolSettings, frozen=True, kw_only=True):
    job = "data_pool_cartesian_join"

    dataset_path_1: Texts
    dataset_path_2: Texts
    default_prefix: Prefix = "default_prefix"


class DataPoolCartesianJoin(PoolJob):
    """Joins every pool of the first list with every one of the second; returns the paths, by the first list.

    dataset_path_1  pools, one or a list
    dataset_path_2  pools, one or a list
    export_path     the folder of `<prefix of the first>_<prefix of the second>_cartesian_join_<i>_<j>.jsonl`
    default_prefix  the whole prefix if the names have none in common in either list (default `default_prefix`)

    The first sample of pool i is joined with each one of pool j, then the second one, and so on. A joined sample has
    the keys of the first and then those of the second, unchanged. Pools with a common key are refused.
    """

    settings_type = CartesianJoinSettings
    reads: ClassVar[tuple[str, ...]] = ("dataset_path_1", "dataset_path_2")

    def run(self) -> list[str]:
        settings = CartesianJoinSettings.read(self.data_pool_cfg)
        firsts, seconds = settings.paths("dataset_path_1"), settings.paths("dataset_path_2")
        folder = settings.folder()
        prefix = f"{common_prefix(firsts, '')}_{common_prefix(seconds, '')}"
        prefix = settings.default_prefix if prefix == "_" else prefix
        with open_pools(firsts, folder) as ours, open_pools(seconds, folder) as theirs, Outputs() as outputs:
            planned = [
                (one, other, os.path.join(folder, f"{prefix}_cartesian_join_{i}_{j}{meet([one, other], True)}"))
                for i, one in enumerate(ours)
                for j, other in enumerate(theirs)
            ]
            written = [target for _, _, target in planned]
            claim(settings, [*firsts, *seconds], written, "dataset_path_1")
            _refuse_common_keys(ours, theirs)
            for one, other, target in planned:
                (_join_tables if one.format == PARQUET else _join_lines)(one, other, outputs, target)
                print(f"{len(one)} times {len(other)} samples written to {target}")
        return written


def _refuse_common_keys(ours: list[Any], theirs: list[Any]) -> None:
    second = [(keys_of(pool), pool) for pool in theirs]
    for pool in ours:
        keys = keys_of(pool)
        for others, other in second:
            if common := [key for key in keys if key in others]:
                there = f"{pool.place(keys[common[0]])}, and {other.place(others[common[0]])}"
                raise ComponentFailed(f"both have a key {common[0]!r}: {there}; rename it in one of them")


def keys_of(pool: Any) -> dict[str, int]:
    """The keys of a pool's samples, and the first sample that has each."""
    if pool.format == PARQUET:
        return dict.fromkeys(pool.schema.names, 0)
    keys: dict[str, int] = {}
    for first, samples in parsed(pool, dict[str, msgspec.Raw]):
        for row, sample in enumerate(samples, start=first):
            if not sample.keys() <= keys.keys():
                keys.update({key: row for key in sample if key not in keys})
    return keys


def _join_lines(one: Any, other: Any, outputs: Outputs, target: str) -> None:
    held = list(_insides(other)) if other.size <= HELD else None
    format = meet([one, other], True)
    name = os.path.basename(target)
    with one.writer(outputs, target, format) as out, Bar(f"writing {name}", len(one) * len(other)) as bar:
        for insides in _insides(one):
            for inside in insides:
                for others in held if held is not None else _insides(other):
                    begin = b"{" + inside + b", " if inside else b"{"
                    if inside and b"" in others:
                        lines = [b"{" + inside + (b", " + each if each else b"") + b"}\n" for each in others]
                        out.write(b"".join(lines))
                    else:
                        out.write(begin + (b"}\n" + begin).join(others) + b"}\n")
                    bar.advance(len(others))


def _insides(pool: Any) -> Iterator[list[bytes]]:
    """The text between the braces of the samples, several samples at a time."""
    for _, _, block in pool.blocks():
        yield [line.strip()[1:-1].strip() for line in block.removesuffix(b"\n").split(b"\n")]


def _join_tables(one: Any, other: Any, outputs: Outputs, target: str) -> None:
    import pyarrow

    schema = pyarrow.schema([*one.schema, *other.schema], one.schema.metadata)
    total = len(one) * len(other)
    with (
        RowWriter(outputs.binary(target), target, schema, "snappy") as out,
        Bar(f"writing {os.path.basename(target)}", total) as bar,
    ):
        for left in one.batches():
            for row in range(len(left)):
                for right in other.batches():
                    repeated = left.take(pyarrow.array([row] * len(right)))
                    out.write(pyarrow.Table.from_arrays([*repeated.columns, *right.columns], schema=schema))
                    bar.advance(len(right))
