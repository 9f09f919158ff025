"""What a training run changes of its process as a whole, put back: the next run finds what a new process would."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unchanged_process() -> Iterator[None]:
    """Environment variables (accelerate tells itself the precision by one) and torch's switches are as before when
    the block ends, and cached memory of the GPU is given back."""
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
