"""Pools of parquet: schema and values are kept; only some rows are in memory at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO

from components.pools.digests import digest, whole
from components.pools.formats import PARQUET, common_format, format_of
from components.pools.progress import Bar
from components.pools.stat_columns import STATS, Column, numeric
from components.pools.writing import Outputs
from sandbox_actors.errors import ComponentFailed

ROWS = 8192
"""Rows that are read at a time."""

GATHERED = 65536
"""Rows that are written at a time in another order."""


class ParquetPool:
    """The rows of one or several parquet files of one schema, by their numbers. `close` it.

    Rows in another order than that of the files are read from an unnamed copy in `folder`, which is memory-mapped.
    """

    format = PARQUET

    def __init__(self, path: str, files: list[str], folder: str) -> None:
        import pyarrow
        from pyarrow import parquet

        self.path = path
        common_format([format_of(file) for file in files], files)
        self._folder = folder
        self._copy: BinaryIO | Any = None
        self._batches: Any = None
        self._files: list[Any] = []
        for file in files:
            try:
                self._files.append(parquet.ParquetFile(file))
            except (OSError, pyarrow.ArrowException) as error:
                self.close()
                raise ComponentFailed(f"cannot read {file}: {error}") from error
        self.schema = self._files[0].schema_arrow
        self._names = files
        self._sizes = [file.metadata.num_rows for file in self._files]
        for name, file in zip(files, self._files, strict=True):
            if not file.schema_arrow.equals(self.schema):
                self.close()
                raise other_columns(name, file.schema_arrow, files[0], self.schema)

    def __len__(self) -> int:
        return sum(self._sizes)

    def close(self) -> None:
        for file in self._files:
            file.close()
        if self._copy is not None:
            self._copy.close()

    def place(self, row: int) -> str:
        number = 0
        while row >= self._sizes[number]:
            row -= self._sizes[number]
            number += 1
        return f"{self._names[number]}, row {row + 1}"

    def writer(self, outputs: Outputs, path: str, format: str = PARQUET) -> RowWriter:
        return RowWriter(outputs.binary(path), path, self.schema, self._codec())

    def batches(self, columns: list[str] | None = None) -> Iterator[Any]:
        """All rows in order, several at a time."""
        import pyarrow

        for name, file in zip(self._names, self._files, strict=True):
            try:
                yield from file.iter_batches(ROWS, columns=columns)
            except (OSError, pyarrow.ArrowException) as error:
                raise ComponentFailed(f"cannot read {name}: {error}") from error

    def write(self, out: RowWriter, rows: Any = None, bar: Bar | None = None) -> None:
        for table in self._chosen(rows):
            out.write(table)
            if bar is not None:
                bar.advance(len(table))

    def stats(self) -> dict[str, Any]:
        import numpy as np
        from pyarrow import types

        if STATS not in self.schema.names or not types.is_struct(self.schema.field(STATS).type):
            raise ComponentFailed(f"{self.path}: no stats ({STATS}); analyse the dataset, or set ignore_stats")
        columns = [Column(field.name) for field in self.schema.field(STATS).type]
        first = 0
        for batch in self.batches([STATS]):
            rows = [row or {} for row in batch.column(0).to_pylist()]
            for column in columns:
                values = [row.get(column.name) for row in rows]
                if (position := column.extend(values)) is not None:
                    message = f"stat {column.name!r}: must be a number, not {values[position]!r}"
                    raise ComponentFailed(f"{self.place(first + position)}: {message}")
            first += len(rows)
        kept = numeric(self.path, columns)
        for name, values in kept.items():
            if (wrong := np.flatnonzero(~np.isfinite(values))).size:
                message = f"stat {name!r}: must be a finite number, not {values[wrong[0]]}"
                raise ComponentFailed(f"{self.place(int(wrong[0]))}: {message}")
        return kept

    def digests(self) -> Any:
        import numpy as np

        digests = bytearray()
        with Bar(f"reading {os.path.basename(self.path)}", len(self)) as bar:
            for batch in self.batches():
                for row in batch.to_pylist():
                    digests += digest(_plain(row))
                bar.advance(len(batch))
        return np.frombuffer(digests, np.uint64).reshape(-1, 2)

    def _chosen(self, rows: Any) -> Iterator[Any]:
        if rows is None or isinstance(rows, range):
            yield from self._range(rows if rows is not None else range(len(self)))
            return
        for begin in range(0, len(rows), GATHERED):
            yield self.take(rows[begin : begin + GATHERED])

    def _range(self, rows: range) -> Iterator[Any]:
        import pyarrow

        first = 0
        for batch in self.batches():
            begin, end = max(rows.start - first, 0), min(rows.stop - first, len(batch))
            if begin < end:
                yield pyarrow.Table.from_batches([batch.slice(begin, end - begin)], self.schema)
            first += len(batch)
            if first >= rows.stop:
                return

    def take(self, rows: Any) -> Any:
        """Rows by number, as a table."""
        import numpy as np
        import pyarrow

        copy, starts = self._mapped()
        order = np.argsort(rows, kind="stable")
        ascending = rows[order].astype(np.int64)
        bounds = np.searchsorted(ascending, starts)
        pieces = [
            copy.get_batch(number).take(pyarrow.array(ascending[first:last] - starts[number]))
            for number, (first, last) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
            if first < last
        ]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return pyarrow.Table.from_batches(pieces, self.schema).combine_chunks().take(pyarrow.array(place))

    def _mapped(self) -> tuple[Any, Any]:
        """The copy, made on first use, and where its batches begin."""
        import numpy as np
        import pyarrow

        if self._batches is None:
            starts = [0]
            try:
                self._copy = tempfile.TemporaryFile(dir=self._folder, prefix=".unpacked-")  # noqa: SIM115
                name = f"/proc/self/fd/{self._copy.fileno()}"
                with pyarrow.OSFile(name, "wb") as file, pyarrow.ipc.new_file(file, self.schema) as copy:
                    for batch in self.batches():
                        copy.write_batch(batch)
                        starts.append(starts[-1] + len(batch))
                self._batches = pyarrow.ipc.open_file(pyarrow.memory_map(name)), np.array(starts)
            except OSError as error:
                raise ComponentFailed(f"cannot unpack {self.path} into {self._folder}: {error}") from error
        return self._batches  # type: ignore[no-any-return]

    def _codec(self) -> str:
        metadata = self._files[0].metadata
        if not metadata.num_row_groups or not metadata.num_columns:
            return "snappy"
        codec = str(metadata.row_group(0).column(0).compression)
        return "none" if codec == "UNCOMPRESSED" else codec.lower()


class RowWriter:
    """Writes tables of one schema into a parquet file. A context manager: complete at the end of the block."""

    def __init__(self, file: BinaryIO, path: str, schema: Any, codec: str) -> None:
        from pyarrow import parquet

        self._file, self._path = file, path
        self._writer = parquet.ParquetWriter(file, schema, compression=codec)

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            self._writer.close()
            self._file.close()
        except OSError as error:
            if kind is None:
                raise self._failed(error) from error

    def write(self, table: Any) -> None:
        try:
            self._writer.write_table(table)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> ComponentFailed:
        why = error.strerror or str(error)
        return ComponentFailed(f"cannot write {self._path}: {why}; none of this job's files was written")


def other_columns(path: str, schema: Any, first: str, wanted: Any) -> ComponentFailed:
    """The error for parquet files with different schemas."""
    ours = {field.name: str(field.type) for field in wanted}
    theirs = {field.name: str(field.type) for field in schema}
    name = next((name for name in [*ours, *theirs] if ours.get(name) != theirs.get(name)), "the order of columns")
    return ComponentFailed(
        f"{path} has different columns from {first}: {name} is {theirs.get(name, 'not there')},"
        f" not {ours.get(name, 'absent')}"
    )


def _plain(value: Any) -> Any:
    """A value of parquet as a JSON value. Types that JSON does not have become an object that is unlikely in samples.

    Whole floats become ints, as in JSON. NaN equals NaN.
    """
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        try:
            return whole(value)
        except ValueError:
            return {"float": repr(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, (date, time, timedelta, Decimal)):
        return {type(value).__name__: str(value)}
    return value
