"""A tiny chat model, and a real server that serves it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.components.conftest import ROOT

LOCAL_MODEL = ROOT / "configs" / "auto_prompt_optimization" / "local_model.py"


@pytest.fixture(scope="session")
def tiny_chat(component_env: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that says grades, such as `0.3`."""
    folder = tmp_path_factory.mktemp("models") / "tiny-chat"
    command = [str(component_env("transformers")), str(LOCAL_MODEL), str(folder), "0"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder
