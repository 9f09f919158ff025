"""Pools of any format behind one face: samples by number, written as they are.

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
    """A dataset whose samples are asked for by number."""

    path: str
    format: str
    schema: Any

    def __len__(self) -> int: ...

    def place(self, row: int) -> str:
        """Where a sample is, for people: `pool.jsonl, line 17`."""

    def writer(self, outputs: Outputs, path: str, format: str = "") -> Any:
        """A file for samples of this pool, in its format or another one of lines.

        `with` it: at the end of the block it is complete.
        """

    def write(self, out: Any, rows: Any = None, bar: Bar | None = None) -> None:
        """Write samples as they are. `rows`: their numbers, a range or a numpy array; default: all of them."""

    def stats(self) -> dict[str, Any]:
        """The numeric stats of all samples in the order in which they appear, as numpy arrays by name."""

    def digests(self) -> Any:
        """128 bits of each sample's content, as a numpy array of two numbers a sample: equal where contents are."""

    def close(self) -> None: ...


def open_pool(path: str, folder: str) -> Pool:
    """The pool at a path, a file or the folder of a sharded export. Copies of what is packed are put into `folder`.

    Raises ComponentFailed for what cannot be read, with file and line, and for a pool without any sample.
    """
    files = files_of(path)
    is_table = any(format_of(file) == PARQUET for file in files)
    pool: Pool = ParquetPool(path, files, folder) if is_table else LinePool(path, files, folder)
    if not len(pool):
        pool.close()
        raise ComponentFailed(f"{path} holds no sample; leave it out, or see why the job that wrote it kept none")
    return pool


@contextmanager
def open_pools(paths: Sequence[str], folder: str) -> Iterator[list[Pool]]:
    """Several pools, open together."""
    with ExitStack() as stack:
        pools = []
        for path in paths:
            pools.append(open_pool(path, folder))
            stack.callback(pools[-1].close)
        yield pools


def meet(pools: Sequence[Pool], is_join: bool = False) -> str:
    """What samples of several pools are written as together. Raises ComponentFailed where they cannot be.

    Plain lines where lines are packed differently. Tables have to have the same columns, unless they are joined.
    """
    format = common_format([pool.format for pool in pools], [pool.path for pool in pools])
    for pool in pools if format == PARQUET and not is_join else ():
        if not pool.schema.equals(pools[0].schema):
            raise other_columns(pool.path, pool.schema, pools[0].path, pools[0].schema)
    return format


def claim(settings: PoolSettings, inputs: Sequence[str], outputs: Sequence[str], key: str = "dataset_path") -> None:
    """Refuse outputs of which two have one name, or that would replace one of the inputs."""
    taken: set[str] = set()
    replaced = {os.path.realpath(path) for path in inputs}
    for path in outputs:
        if path in taken:
            stems = ", ".join(each for each in inputs if name_of(each) in os.path.basename(path))
            raise settings.problem(key, f"{stems} have one name, and would both be written to {path}: one job for each")
        if os.path.realpath(path) in replaced:
            raise settings.problem("export_path", f"the job would write over its own input {path}")
        taken.add(path)
