"""Pools of JSON lines: an index of the samples, by which their bytes are copied.

Only the offsets of the samples are in memory, 8 bytes each, never the text. A sample is its line without the line feed,
and is written as these bytes and a line feed. A carriage return before the line feed is white space and is kept.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from components.pools.digests import digests_of_lines
from components.pools.formats import common_format, format_of
from components.pools.progress import Bar
from components.pools.stat_columns import stats_of_lines
from components.pools.unpacking import BYTE_ORDER_MARK, Plain, plain, without_blank_lines
from components.pools.writing import LineWriter, Outputs
from sandbox_actors.errors import ComponentFailed

SCANNED = 1 << 18
"""Bytes searched for line ends at a time: they stay in the processor's cache."""

GATHERED = 48 << 20
"""Approximate bytes of samples that are collected in memory before they are written."""

MOST_GATHERED = 100_000
"""The most samples collected in memory."""

NEAR = 1 << 13
"""A gap between two samples of up to so many bytes is read too, which is faster than another read."""

WRITTEN = 8192
"""Samples in one write."""

PARSED = 1 << 20
"""Approximate bytes of samples that are parsed together."""


@dataclass
class _Part:
    """One file of a pool. Its samples start at number `first`, its bytes at `base` in the sequence of all files."""

    path: str
    plain: Plain
    first: int
    base: int
    size: int
    is_ended: bool


class LinePool:
    """The samples of one or several files of JSON lines, by their numbers. `close` it, or `with` it.

    `folder` is for copies of compressed files. Raises ComponentFailed with file and line for a line that does not begin
    and end like a JSON object; it is only parsed if its values are needed.
    """

    schema = None

    def __init__(self, path: str, files: list[str], folder: str) -> None:
        self.path = path
        self.format = common_format([format_of(file) for file in files], files)
        self._folder = folder
        self._parts: list[_Part] = []
        self._starts = array("q")
        try:
            for file in files:
                self._parts.append(self._read(file))
        except BaseException:
            self.close()
            raise
        self._starts.append(self._size())

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __enter__(self) -> LinePool:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def close(self) -> None:
        for part in self._parts:
            os.close(part.plain.fd)
        self._parts = []

    def writer(self, outputs: Outputs, path: str, format: str = "") -> LineWriter:
        """A file for samples of this pool, in its own or another format of lines."""
        return outputs.lines(path, format or self.format)

    @property
    def size(self) -> int:
        """Bytes of all samples."""
        return self._starts[-1]

    def place(self, row: int) -> str:
        """The place of a sample in messages: `pool.jsonl, line 17`."""
        part = next(part for part in reversed(self._parts) if part.first <= row)
        return f"{part.path}, {part.plain.place(row - part.first)}"

    def blocks(self, label: str = "") -> Iterator[tuple[int, int, bytes]]:
        """All samples in order, several at a time: the number of the first, their count, and their lines."""
        starts = self._index()
        with Bar(label or f"reading {os.path.basename(self.path)}", len(self)) as bar:
            for part in self._parts:
                row, last = part.first, self._last_of(part)
                while row < last:
                    end = int(starts[: last + 1].searchsorted(starts[row] + PARSED, "right")) - 1
                    end = max(end, row + 1)
                    yield row, end - row, self._bytes(part, int(starts[row]), int(starts[end]))
                    bar.advance(end - row)
                    row = end

    def stats(self) -> dict[str, Any]:
        """The numeric stats of all samples, as numpy arrays."""
        return stats_of_lines(self)

    def digests(self) -> Any:
        """128 bits of each sample's content, as a numpy array of two numbers a sample."""
        return digests_of_lines(self)

    def line(self, row: int) -> bytes:
        """One sample, without its line feed."""
        part = next(part for part in reversed(self._parts) if part.first <= row)
        return self._bytes(part, self._starts[row], self._starts[row + 1]).removesuffix(b"\n")

    def write(self, out: LineWriter, rows: Any = None, bar: Bar | None = None) -> None:
        """Copy the bytes of samples. `rows`: their numbers, a range or a numpy array; default: all."""
        if rows is None or isinstance(rows, range):
            self._copy(out, rows if rows is not None else range(len(self)), bar)
            return
        step = max(1, min(len(rows), GATHERED * len(self) // self.size, MOST_GATHERED))
        for begin in range(0, len(rows), step):
            batch = rows[begin : begin + step].astype("int64", copy=False)
            self._gather(out, batch)
            if bar is not None:
                bar.advance(len(batch))

    def _copy(self, out: LineWriter, rows: range, bar: Bar | None) -> None:
        for part in self._parts:
            first, end = max(rows.start, part.first), min(rows.stop, self._last_of(part))
            if first >= end:
                continue
            try:
                out.copy(part.plain.fd, self._starts[first] - part.base, self._starts[end] - part.base)
            except EOFError:
                raise self._changed(part) from None
            if end == self._last_of(part) and not part.is_ended:
                out.write(b"\n")
            if bar is not None:
                bar.advance(end - first)

    def _gather(self, out: LineWriter, rows: Any) -> None:
        """Reads in the order of the file, neighbours together; writes in the order of `rows`."""
        import numpy as np

        starts = self._index()
        order = np.argsort(rows, kind="stable")
        begins, ends = starts[rows[order]], starts[rows[order] + 1]
        if int((ends - begins).sum()) > 2 * GATHERED:
            for row in rows.tolist():
                self._copy(out, range(row, row + 1), None)
            return
        pieces: list[bytes] = []
        for part in self._parts:
            first, last = np.searchsorted(begins, [part.base, part.base + part.size]).tolist()
            pieces += self._pieces(part, begins[first:last], ends[first:last])
            if not part.is_ended:
                for position in range(last - 1, -1, -1):
                    if ends[position] != part.base + part.size:
                        break
                    pieces[position] += b"\n"
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        for begin in range(0, len(rows), WRITTEN):
            out.write(b"".join(map(pieces.__getitem__, place[begin : begin + WRITTEN].tolist())))

    def _pieces(self, part: _Part, begins: Any, ends: Any) -> list[bytes]:
        """Samples of one file, ascending."""
        import numpy as np

        is_far = (begins[1:] - ends[:-1] > NEAR) | (np.diff(begins // PARSED) != 0)
        cuts = np.flatnonzero(is_far) + 1
        if 2 * len(cuts) > len(begins):
            read, fd = os.pread, part.plain.fd
            sizes = ends - begins
            pieces = [
                read(fd, size, at) for size, at in zip(sizes.tolist(), (begins - part.base).tolist(), strict=True)
            ]
            if sum(map(len, pieces)) < int(sizes.sum()):
                raise self._changed(part)
            return pieces
        pieces = []
        bounds = [0, *cuts.tolist(), len(begins)]
        for first, last in pairwise(bounds):
            if first < last:
                base = int(begins[first])
                block = self._bytes(part, base, int(ends[last - 1]))
                places = zip((begins[first:last] - base).tolist(), (ends[first:last] - base).tolist(), strict=True)
                pieces += [block[begin:end] for begin, end in places]
        return pieces

    def _read(self, path: str) -> _Part:
        try:
            part = self._open(path, plain(path, format_of(path), self._folder))
            if self._scan(part):
                return part
            del self._starts[part.first :]
            part = self._open(path, without_blank_lines(part.plain, self._folder))
        except OSError as error:
            raise ComponentFailed(f"cannot read {path}: {error.strerror or error}") from error
        self._scan(part)
        if blank := part.plain.blank:
            lines = "1 blank line is" if len(blank) == 1 else f"{len(blank)} blank lines are"
            print(f"{path}: {lines} skipped (line {blank[0]}{' is the first' if len(blank) > 1 else ''})")
        return part

    def _open(self, path: str, source: Plain) -> _Part:
        size = os.fstat(source.fd).st_size
        is_ended = size == 0 or os.pread(source.fd, 1, size - 1) == b"\n"
        return _Part(path, source, len(self._starts), self._size(), size, is_ended)

    def _scan(self, part: _Part) -> bool:
        """Store where the samples of a file begin. False if it has a blank line, or a byte order mark."""
        doubtful = array("q")
        ended = part.first
        for begins, is_odd_begin, is_odd_end in _line_ends(part):
            doubtful.extend((len(self._starts) + is_odd_begin.nonzero()[0]).tolist())
            doubtful.extend((ended + is_odd_end.nonzero()[0]).tolist())
            self._starts.frombytes((begins + part.base).tobytes())
            ended += len(is_odd_end)
        if not part.is_ended:
            doubtful.append(len(self._starts) - 1)
        return all(self._is_sample(part, row) for row in doubtful)

    def _is_sample(self, part: _Part, row: int) -> bool:
        start = self._starts[row]
        end = self._starts[row + 1] if row + 1 < len(self._starts) else part.base + part.size
        line = self._bytes(part, start, end).strip()
        if row == part.first and line.startswith(BYTE_ORDER_MARK):
            return False
        if line and not (line.startswith(b"{") and line.endswith(b"}")):
            where = f"{part.path}, {part.plain.place(row - part.first)}"
            raise ComponentFailed(f"{where}: not a JSON object: {excerpt(line)}")
        return bool(line)

    def _bytes(self, part: _Part, start: int, end: int) -> bytes:
        read = os.pread(part.plain.fd, end - start, start - part.base)
        if len(read) < end - start:
            raise self._changed(part)
        return read

    def _changed(self, part: _Part) -> ComponentFailed:
        return ComponentFailed(f"{part.path} was truncated while it was read")

    def _size(self) -> int:
        return self._parts[-1].base + self._parts[-1].size if self._parts else 0

    def _last_of(self, part: _Part) -> int:
        """One more than the number of the last sample of a file."""
        index = self._parts.index(part) + 1
        return self._parts[index].first if index < len(self._parts) else len(self)

    def _index(self) -> Any:
        """The offsets of the samples, and the end of the last one, as a numpy array."""
        import numpy as np

        return np.frombuffer(self._starts, np.int64)


def excerpt(line: bytes) -> str:
    """The beginning of a line, for an error."""
    text = line[:60].decode("utf-8", "replace")
    return repr(text + "..." if len(line) > 60 else text)


def _line_ends(part: _Part) -> Iterator[tuple[Any, Any, Any]]:
    """For each block: where lines begin, whether each of these begins with another character than a brace, and whether
    each line that ends in the block ends with another character than a brace.

    A line begins after a line feed. A block is examined after the last byte of the previous one, at first a line feed.
    """
    import numpy as np

    buffer = bytearray(b"\n" * (SCANNED + 1))
    seen = np.frombuffer(buffer, np.uint8)
    offset = 0
    with Bar(f"scanning {os.path.basename(part.path)}", part.size, "B") as bar:
        while count := os.preadv(part.plain.fd, [memoryview(buffer)[1:]], offset):
            feeds = np.flatnonzero(seen[: count + 1] == ord("\n"))
            begins = feeds[feeds < count]
            yield begins + offset, seen[begins + 1] != ord("{"), seen[feeds[feeds > 0] - 1] != ord("}")
            buffer[0] = buffer[count]
            offset += count
            bar.advance(count)
