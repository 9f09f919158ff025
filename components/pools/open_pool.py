"""Pools of any format behind one interface: samples by number, written unchanged.

with open_pool("pool.jsonl", folder) as pool, Outputs() as outputs:
    with pool.writer(outputs, "part.jsonl") as out:
        pool.write(out, range(100))
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from components.pools.formats import PARQUET, common_format, files_of, format_of, name_of
from components.pools.line_pool import LinePool
from components.pools.parquet_pool import ParquetPool, other_columns
from components.pools.pool_settings import PoolSettings
from components.pools.progress import Bar
from components.pools.writing import Outputs
from sandbox_actors.errors import ComponentFailed


class Pool(Protocol):
    """A dataset with access to samples by number."""

    path: str
    format: str
    schema: Any

    def __len__(self) -> int: ...

    def place(self, row: int) -> str:
        """The place of a sample in messages: `pool.jsonl, line 17`."""

    def writer(self, outputs: Outputs, path: str, format: str = "") -> Any:
        """A file for samples of this pool, in its own or another format of lines.

        A context manager: the file is complete at the end of the block.
        """

    def write(self, out: Any, rows: Any = None, bar: Bar | None = None) -> None:
        """Write samples unchanged. `rows`: their numbers, a range or a numpy array; default: all of them."""

    def stats(self) -> dict[str, Any]:
        """The numeric stats of all samples in order, as numpy arrays by name."""

    def digests(self) -> Any:
        """128 bits for each sample, as a numpy array of two numbers a sample: equal for equal content."""

    def close(self) -> None: ...


def open_pool(path: str, folder: str) -> Pool:
    """The pool at a path, a file or the folder of a sharded export. `folder` is for copies of compressed files.

    Raises ComponentFailed for unreadable data, with file and line, and for an empty pool.
    """
    files = files_of(path)
    is_table = any(format_of(file) == PARQUET for file in files)
    pool: Pool = ParquetPool(path, files, folder) if is_table else LinePool(path, files, folder)
    if not len(pool):
        pool.close()
        raise ComponentFailed(f"{path} contains no samples; remove it, or see why the job that wrote it kept none")
    return pool


@contextmanager
def open_pools(paths: Sequence[str], folder: str) -> Iterator[list[Pool]]:
    """Several pools, open at the same time."""
    with ExitStack() as stack:
        pools = []
        for path in paths:
            pools.append(open_pool(path, folder))
            stack.callback(pools[-1].close)
        yield pools


def meet(pools: Sequence[Pool], is_join: bool = False) -> str:
    """The output format for samples of several pools. Raises ComponentFailed if there is none.

    Plain lines if lines are compressed differently. Tables must have the same columns, unless they are joined.
    """
    format = common_format([pool.format for pool in pools], [pool.path for pool in pools])
    for pool in pools if format == PARQUET and not is_join else ():
        if not pool.schema.equals(pools[0].schema):
            raise other_columns(pool.path, pool.schema, pools[0].path, pools[0].schema)
    return format


def claim(settings: PoolSettings, inputs: Sequence[str], outputs: Sequence[str], key: str = "dataset_path") -> None:
    """Raises ConfigError if two outputs have the same name, or if one would replace an input."""
    taken: set[str] = set()
    replaced = {os.path.realpath(path) for path in inputs}
    for path in outputs:
        if path in taken:
            stems = ", ".join(each for each in inputs if name_of(each) in os.path.basename(path))
            raise settings.problem(
                key, f"{stems} have the same name, and would both be written to {path}: use one job for each"
            )
        if os.path.realpath(path) in replaced:
            raise settings.problem("export_path", f"the job would overwrite its own input {path}")
        taken.add(path)
