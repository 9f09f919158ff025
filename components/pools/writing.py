"""Writing pools: every file whole, and all files of a job or none of them.

A file has no name until it is complete: it is written to an unnamed file in the folder where it will lie, which the
system gives up when the process ends, however it ends. Where a file system knows no unnamed files (NFS does not), it
has a hidden name meanwhile, and a killed process leaves that.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from components.pools.formats import GZIP, PARQUET, ZSTD
from sandbox_actors.errors import ComponentFailed

BLOCK = 1 << 20
"""Bytes copied at a time where the kernel cannot do it by itself."""

_NO_UNNAMED_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
_NO_COPY_IN_KERNEL = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class Outputs:
    """The files of one job. `with Outputs() as outputs`: all of them appear at the end of the block, or none does.

    A job that writes more files than the process may have open publishes those that are complete in between.
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
        """A file of JSON lines that will be `path`; packed as `format` says."""
        return LineWriter(self._add(path), format)

    def binary(self, path: str) -> BinaryIO:
        """A file of any other kind that will be `path`; to be closed when it is complete."""
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
    """Writes lines, given as bytes or as parts of other files. `with` it: at the end of the block it is complete."""

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
                with _told(self.path):
                    self._packed.close()
        finally:
            self._raw.close()

    def write(self, lines: bytes) -> None:
        """Whole lines, each with its end."""
        with _told(self.path):
            if self._packed is not None:
                self._packed.write(lines)
                return
            view = memoryview(lines)
            while view:
                view = view[os.write(self._fd, view) :]

    def copy(self, fd: int, start: int, end: int) -> None:
        """The bytes from `start` to `end` of a file. Raises EOFError where it ends earlier."""
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
                    with _told(self.path):
                        raise
        block = os.pread(fd, min(count, BLOCK), start)
        self.write(block)
        return len(block)


class _File:
    """A file without a name, that gets one when it is published."""

    def __init__(self, path: str) -> None:
        self.path = path
        folder = os.path.dirname(path) or "."
        self._hidden = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}")
        self._is_named = False
        with _told(path):
            os.makedirs(folder, exist_ok=True)
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
            try:
                self.fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
            except OSError as error:
                if error.errno not in _NO_UNNAMED_FILES:
                    raise
                self.fd = os.open(self._hidden, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o666)
                self._is_named = True

    def publish(self) -> None:
        """Under its name at once, in place of what had it."""
        with _told(self.path):
            if not self._is_named:
                Path(self._hidden).unlink(missing_ok=True)
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
def _told(path: str) -> Iterator[None]:
    """Says which file could not be written, and why."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise ComponentFailed(f"cannot write {path}: {why}; none of this job's files was written") from error


def _packer(raw: Any, format: str) -> Any:
    """What packs bytes on their way into `raw`, None for plain lines. The same lines always give the same bytes."""
    if format == GZIP:
        import gzip

        return gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0)
    if format == ZSTD:
        import zstandard

        return zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(raw, closefd=False)
    if format == PARQUET:
        raise ValueError("parquet is not made of lines")
    return None
