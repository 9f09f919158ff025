"""Lines from a log file that is still being written.

A line ends with `\\n`, `\\r` (progress bars) or both, and is handed on only when its end has been written: half a line
would turn `loss=0.1234` into 0.12. Memory is bounded: of a line longer than `LINE_LIMIT` the rest is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

CHUNK = 64 * 1024
LINE_LIMIT = 1024 * 1024
"""Bytes."""

_END = re.compile(rb"\r\n|\r|\n")


class LogLines:
    """Reads `path`, which need not exist yet, from its beginning."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.offset = 0
        self._rest = b""
        self._is_skipping = False

    def read(self) -> Iterator[str]:
        """The lines completed since the last call, without their ends. Invalid UTF-8 becomes U+FFFD."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if os.fstat(descriptor).st_size < self.offset:  # truncated, or replaced by a new file
                self.offset, self._rest = 0, b""
            while chunk := os.pread(descriptor, CHUNK, self.offset):
                self.offset += len(chunk)
                yield from self._split(chunk)
        finally:
            os.close(descriptor)

    def finish(self) -> Iterator[str]:
        """What is left without an end, when no one will write any more."""
        rest, self._rest = self._rest, b""
        if rest and not self._is_skipping:
            yield rest.rstrip(b"\r").decode("utf-8", "replace")

    def _split(self, chunk: bytes) -> Iterator[str]:
        # A `\r` at the very end may be half of `\r\n`: it waits with the rest until more is written.
        data = self._rest + chunk
        start = 0
        for match in _END.finditer(data):
            if match.end() == len(data) and match.group() == b"\r":
                break
            if not self._is_skipping:
                yield data[start : match.start()].decode("utf-8", "replace")
            self._is_skipping = False
            start = match.end()
        self._rest = data[start:]
        if len(self._rest) > LINE_LIMIT:
            if not self._is_skipping:
                yield self._rest[:LINE_LIMIT].decode("utf-8", "replace")
            self._is_skipping, self._rest = True, b""
