"""Restores the process-wide state that a training changes, so that the next run starts as in a new process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unchanged_process() -> Iterator[None]:
    """Restore the environment variables (accelerate stores the precision in one) and torch's global settings at the end
    of the block, and release cached GPU memory."""
    import torch

    environ = dict(os.environ)
    dtype, precision = torch.get_default_dtype(), torch.backends.fp32_precision
    deterministic = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environ)
        torch.set_default_dtype(dtype)
        torch.backends.fp32_precision = precision
        torch.use_deterministic_algorithms(deterministic, warn_only=only_warns)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
