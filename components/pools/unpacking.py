"""Makes plain lines from gzip, zstd, JSON arrays, and files with blank lines or a byte order mark.

Samples are read by their offsets in a file. If the file is not a plain sequence of lines, they are copied to an unnamed
file in the output folder of the job, which disappears when it is closed or when the process ends.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from components.pools.formats import GZIP, ZSTD
from sandbox_actors.errors import ComponentFailed

BLOCK = 1 << 20
"""Bytes in one read."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{},]', re.DOTALL)


@dataclass
class Plain:
    """A file of plain lines: its descriptor, which the owner closes, and the numbers of its lines in the original.

    blank  the numbers of the skipped lines of the original, ascending
    unit   the name of a unit of the original
    """

    fd: int
    blank: list[int] = field(default_factory=list)
    unit: str = "line"

    def place(self, number: int) -> str:
        """The place in the original of the line with that number (from 0)."""
        line = number + 1
        for blank in self.blank:
            if blank > line:
                break
            line += 1
        return f"{self.unit} {line}"


def plain(path: str, format: str, folder: str) -> Plain:
    """The file itself, or a copy in `folder` if it is compressed or an array. Raises OSError, ComponentFailed."""
    with open(path, "rb", buffering=0) as raw:
        is_packed = format in (GZIP, ZSTD)
        copied = _copy(_unpacked(raw, format, path), folder) if is_packed else Plain(os.dup(raw.fileno()))
    if not _is_array(copied.fd):
        return copied
    try:
        return _copy(_elements(copied.fd, path), folder, unit="sample")
    finally:
        os.close(copied.fd)


def without_blank_lines(source: Plain, folder: str) -> Plain:
    """A copy without blank lines and without a byte order mark; `source` is closed."""
    blank: list[int] = []
    try:
        made = _copy(_samples(source.fd, blank), folder, source.unit)
    finally:
        os.close(source.fd)
    made.blank = blank
    return made


def _copy(blocks: Iterator[bytes], folder: str, unit: str = "line") -> Plain:
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, prefix=".unpacked-") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        return Plain(os.dup(file.fileno()), unit=unit)


def _unpacked(raw: BinaryIO | Any, format: str, path: str) -> Iterator[bytes]:
    if format == GZIP:
        import gzip
        import zlib

        errors: tuple[type[Exception], ...] = (gzip.BadGzipFile, zlib.error, EOFError)
        reader: Any = gzip.GzipFile(fileobj=raw)
    else:
        import zstandard

        errors = (zstandard.ZstdError,)
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=False)
    try:
        while block := reader.read(BLOCK):
            yield block
    except errors as error:
        raise ComponentFailed(f"{path}: cannot be decompressed: {error}; the file is damaged or truncated") from error


def _samples(fd: int, blank: list[int]) -> Iterator[bytes]:
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        for number, line in enumerate(file, start=1):
            kept = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            if kept.strip():
                yield kept
            else:
                blank.append(number)


def _is_array(fd: int) -> bool:
    offset = 0
    while block := os.pread(fd, BLOCK, offset):
        if beginning := block.removeprefix(b"" if offset else BYTE_ORDER_MARK).lstrip():
            return beginning.startswith(b"[")
        offset += len(block)
    return False


def _elements(fd: int, path: str) -> Iterator[bytes]:
    """The elements of a JSON array, each as a line. Raises ComponentFailed for an invalid array."""
    splitter = _Splitter(path)
    offset = 0
    while block := os.pread(fd, BLOCK, offset):
        offset += len(block)
        yield from splitter.feed(block)
    splitter.end()


class _Splitter:
    """Splits a JSON array, given block by block, at the commas between its elements."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rest = b""
        self._scanned = self._depth = self._count = 0
        self._has_started = False

    def feed(self, block: bytes) -> Iterator[bytes]:
        self._rest += block
        start = 0
        for token in _TOKEN.finditer(self._rest, self._scanned):
            mark = token[0]
            if mark == b'"':  # the start of a string that ends in a later block
                self._scanned = token.start()
                break
            if len(mark) > 1:
                continue
            if self._depth == 1 and mark in b",]":
                yield from self._element(self._rest[start : token.start()], is_last=mark == b"]")
                start = token.end()
            elif self._depth == 0:
                self._begin(mark, self._rest[start : token.start()])
                start = token.end()
            self._depth += (mark in b"[{") - (mark in b"]}")
        else:
            self._scanned = len(self._rest)
        self._rest = self._rest[start:]
        self._scanned -= start

    def end(self) -> None:
        if self._depth or self._rest.strip():
            what = "does not end" if self._depth else "continues after its end"
            raise ComponentFailed(f"{self._path}: the array of samples {what} (after sample {self._count})")

    def _begin(self, mark: bytes, before: bytes) -> None:
        if self._has_started or mark != b"[" or before.removeprefix(BYTE_ORDER_MARK).strip():
            raise ComponentFailed(f"{self._path}: the array of samples continues after its end (sample {self._count})")
        self._has_started = True

    def _element(self, text: bytes, is_last: bool) -> Iterator[bytes]:
        """Line ends in an element are between its tokens, where JSON allows blanks instead."""
        line = text.strip().replace(b"\r", b" ").replace(b"\n", b" ")
        if line:
            self._count += 1
            yield line + b"\n"
        elif self._count or not is_last:
            raise ComponentFailed(f"{self._path}, sample {self._count + 1}: no value between two commas")
