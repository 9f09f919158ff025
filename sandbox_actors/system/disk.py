"""Waiting for a disk that is full or fails: what has been computed is not lost because it cannot be written now."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

import trio

T = TypeVar("T")

RETRY_SECONDS = 1.0
"""Between two attempts."""

PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that end when somebody frees something, or the disk works again."""

_threads = trio.CapacityLimiter(16)


async def patiently(
    act: Callable[[], T], on_wait: Callable[[str], Awaitable[object]], passing: Collection[int] = PASSING
) -> T:
    """The result of `act()`, which runs in a thread. While it raises an OSError that is `passing`, it is tried again,
    and `on_wait` is called with each new reason. Raises other errors."""
    reason = ""
    while True:
        try:
            return await trio.to_thread.run_sync(act, limiter=_threads)
        except OSError as error:
            if error.errno not in passing:
                raise
            before, reason = reason, f"waits for the disk: {error.filename or ''}: {error.strerror}"
        if reason != before:
            await on_wait(reason)
        await trio.sleep(RETRY_SECONDS)
