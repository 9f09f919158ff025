"""Lines from a log file that is still being written.

A line ends with `\\n`, `\\r` (progress bars) or both, and is yielded only when its end has been written: half a line
would turn `loss=0.1234` into 0.12. Memory is bounded: a line is cut after `LINE_LIMIT` bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

CHUNK = 128 * 1024
LINE_LIMIT = 1024 * 1024
"""Bytes."""

Line = tuple[str, int]
"""A line without its end, with U+FFFD for invalid UTF-8, and its position: the number of bytes in the log up to its
end, or to where it was cut. It depends on the log alone, not on when it was read."""


class LogLines:
    """Reads `path`, which need not exist yet, from byte `begin`."""

    def __init__(self, path: str, begin: int = 0) -> None:
        self.path = path
        self.offset = begin
        self._lost = 0
        self._rest = b""
        self._is_skipping = False

    @property
    def position(self) -> int:
        """Where the last read ended, including the bytes that the log had before it was truncated."""
        return self._lost + self.offset

    def read(self) -> Iterator[Line]:
        """The lines completed since the last call."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if os.fstat(descriptor).st_size < self.offset:  # truncated, or replaced by a new file
                self._lost, self.offset, self._rest, self._is_skipping = self.position, 0, b"", False
            while chunk := os.pread(descriptor, CHUNK, self.offset):
                self.offset += len(chunk)
                yield from self._split(chunk)
        finally:
            os.close(descriptor)

    def finish(self) -> Iterator[Line]:
        """The last line if it has no end; to be called when nothing writes to the log any more."""
        rest, self._rest = self._rest, b""
        if rest and not self._is_skipping:
            yield _text(rest), self.position

    def _split(self, chunk: bytes) -> Iterator[Line]:
        data = self._rest + chunk
        parts = data.splitlines(keepends=True)
        # A `\r` at the end of the data may be half of `\r\n`: keep it until more is written.
        rest = b"" if data.endswith(b"\n") else parts.pop()
        start = self.position - len(data)
        for part in parts:
            if not self._is_skipping:
                yield _text(part), start + min(len(part), LINE_LIMIT)
            self._is_skipping = False
            start += len(part)
        if len(rest.rstrip(b"\r")) > LINE_LIMIT and not self._is_skipping:
            yield _text(rest), start + LINE_LIMIT
            self._is_skipping = True
        self._rest = rest[len(rest.rstrip(b"\r")) :] if self._is_skipping else rest


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n")[:LINE_LIMIT].decode("utf-8", "replace")
