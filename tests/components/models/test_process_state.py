"""What a training run changes of its process is put back, also when it fails."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

PROGRAM = """
import os
import torch
from components.models.process_state import unchanged_process

def state():
    return (
        os.environ.get("ADDED"), os.environ.get("HOME"), torch.get_default_dtype(), torch.backends.fp32_precision,
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
    )

before = state()
try:
    with unchanged_process():
        os.environ["ADDED"] = "1"
        del os.environ["HOME"]
        torch.set_default_dtype(torch.float64)
        torch.backends.fp32_precision = "tf32"
        torch.use_deterministic_algorithms(True, warn_only=True)
        assert all(old != new for old, new in zip(before, state()))
        raise RuntimeError("the run fails")
except RuntimeError as error:
    print(error, state() == before)
"""


def test_environment_and_switches_are_as_before(component_env: Callable[[str], Path]) -> None:
    root = str(Path(__file__).parents[3])
    command = [component_env("transformers"), "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.stdout == "the run fails True\n", done.stderr
