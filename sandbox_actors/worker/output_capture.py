"""Everything a run writes to its standard streams, at the level of file descriptors, into one log file.

Replacing `sys.stdout` would miss C code, child processes and anything that holds the old stream. Redirecting
descriptors 1 and 2 misses nothing, and components need no change for it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def capture_output(log: str) -> Iterator[None]:
    """Append descriptors 1 and 2 to the file `log` (made if missing) until the block ends."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    streams = sys.stdout, sys.stderr
    _flush()
    saved = os.dup(1), os.dup(2)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    try:
        yield
    finally:
        _flush()
        sys.stdout, sys.stderr = streams  # libraries replace them and do not restore them
        _flush()
        for number, descriptor in zip((1, 2), saved, strict=True):
            with suppress(OSError):  # the component has closed it, with all others
                os.dup2(descriptor, number)
                os.close(descriptor)


def _flush() -> None:
    """A stream that cannot be flushed, because it is closed or is none at all, must not cost the run its result."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    ctypes.CDLL(None).fflush(None)  # C's own buffers, which Python's flush does not reach
