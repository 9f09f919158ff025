"""Experiment files in a folder of their own, and what is read from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_actors.experiment.model import Experiment
from sandbox_actors.experiment_file.load import Loaded, load_experiment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "sandbox.yaml") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


def load(text: str, name: str = "sandbox.yaml") -> Loaded:
    return load_experiment(write(text, name))


def experiment_of(text: str, name: str = "sandbox.yaml") -> Experiment:
    return load(text, name).require()


def errors_of(text: str) -> list[str]:
    loaded = load(text)
    assert loaded.experiment is None
    return [str(error) for error in loaded.errors]
