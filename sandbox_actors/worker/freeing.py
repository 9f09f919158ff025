"""Memory that a run has left behind, given back."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def free() -> None:
    """Collect what nobody refers to, and let the C library give its free pages back: it keeps them otherwise, a little
    more after each run, because what is allocated next does not quite fit where the last was."""
    gc.collect()
    with suppress(AttributeError):  # a C library that is not GNU's
        ctypes.CDLL(None).malloc_trim(0)
