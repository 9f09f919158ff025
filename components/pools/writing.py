"""Writes pools: all files of a job appear complete, or none of them.

A file is written without a name (O_TMPFILE) in its folder and gets its name when all files of the job are complete, so
the kernel removes it however the process ends. That is why `sandbox_actors.files`, which publishes one file at a time,
is not used here. On a file system without unnamed files (NFS), it has a hidden name until then, which a killed process
leaves behind.
"""

from __future__ import annotations

import errno
import os
import resource
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from components.pools.formats import GZIP, PARQUET, ZSTD
from sandbox_actors.errors import ComponentFailed

BLOCK = 1 << 20
"""Bytes copied at a time if the kernel cannot copy them itself."""

_NO_UNNAMED_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
_NO_COPY_IN_KERNEL = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class Outputs:
    """The files of one job. `with Outputs() as outputs`: all of them appear at the end of the block, or none.

    If a job writes more files than the process may have open, the complete ones are published earlier.
    """

    def __init__(self) -> None:
        self._pending: list[_File] = []
        self._most = max(8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            for file in self._pending:
                file.discard()

    def lines(self, path: str, format: str) -> LineWriter:
        """A file of JSON lines that will be `path`, compressed by `format`."""
        return LineWriter(self._add(path), format)

    def binary(self, path: str) -> BinaryIO:
        """A file of any other kind that will be `path`. The caller closes it when it is complete."""
        return os.fdopen(os.dup(self._add(path).fd), "wb")

    def _add(self, path: str) -> _File:
        if len(self._pending) >= self._most:
            self._publish()
        file = _File(path)
        self._pending.append(file)
        return file

    def _publish(self) -> None:
        while self._pending:
            self._pending[0].publish()
            self._pending.pop(0)


class LineWriter:
    """Writes lines, given as bytes or as parts of other files. A context manager: complete at the end of the block."""

    def __init__(self, file: _File, format: str) -> None:
        self.path = file.path
        self._fd = file.fd
        self._raw = os.fdopen(os.dup(file.fd), "wb", buffering=0)
        self._packed = _packer(self._raw, format)

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if self._packed is not None and kind is None:
                with _explained(self.path):
                    self._packed.close()
        finally:
            self._raw.close()

    def write(self, lines: bytes) -> None:
        """Write whole lines, each with its line feed."""
        with _explained(self.path):
            if self._packed is not None:
                self._packed.write(lines)
                return
            view = memoryview(lines)
            while view:
                view = view[os.write(self._fd, view) :]

    def copy(self, fd: int, start: int, end: int) -> None:
        """Copy the bytes from `start` to `end` of a file. Raises EOFError if it ends earlier."""
        while start < end:
            copied = self._copy_some(fd, start, end - start)
            if not copied:
                raise EOFError
            start += copied

    def _copy_some(self, fd: int, start: int, count: int) -> int:
        if self._packed is None:
            try:
                return os.copy_file_range(fd, self._fd, count, start)
            except OSError as error:
                if error.errno not in _NO_COPY_IN_KERNEL:
                    with _explained(self.path):
                        raise
        block = os.pread(fd, min(count, BLOCK), start)
        self.write(block)
        return len(block)


class _File:
    """A file without a name, which gets one when it is published."""

    def __init__(self, path: str) -> None:
        self.path = path
        folder = os.path.dirname(path) or "."
        self._hidden = os.path.join(folder, f".{secrets.token_hex(8)}.unfinished")
        self._is_named = False
        with _explained(path):
            os.makedirs(folder, exist_ok=True)
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, "a folder has that name")
            try:
                self.fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
            except OSError as error:
                if error.errno not in _NO_UNNAMED_FILES:
                    raise
                self.fd = os.open(self._hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
                self._is_named = True

    def publish(self) -> None:
        """Give the file its name atomically, and replace an older file of that name."""
        with _explained(self.path):
            if not self._is_named:
                _name(self.fd, self._hidden)
                self._is_named = True
            os.replace(self._hidden, self.path)
        self._is_named = False
        os.close(self.fd)

    def discard(self) -> None:
        os.close(self.fd)
        if self._is_named:
            Path(self._hidden).unlink(missing_ok=True)


def _name(fd: int, path: str) -> None:
    """Give an unnamed file a name. With a folder to start from, Python's `link` follows the link of the descriptor."""
    descriptors = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(fd), path, src_dir_fd=descriptors, follow_symlinks=True)
    finally:
        os.close(descriptors)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Translates an OSError into a ComponentFailed that names the file."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise ComponentFailed(f"cannot write {path}: {why}; none of this job's files was written") from error


def _packer(raw: Any, format: str) -> Any:
    """A compressor that writes into `raw`, None for plain lines. The same lines always give the same bytes."""
    if format == GZIP:
        import gzip

        return gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0)
    if format == ZSTD:
        import zstandard

        return zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(raw, closefd=False)
    if format == PARQUET:
        raise ValueError("parquet is not made of lines")
    return None
