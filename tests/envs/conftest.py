"""Each test of envs has its own sandbox home and current folder, and a gate if it needs one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.envs.gates import Gate


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory):
    gate = Gate(tmp_path_factory.mktemp("gate"))
    yield gate
    gate.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sandbox home and a current folder of the test's own."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("SANDBOX_HOME", str(home))
    monkeypatch.chdir(here)
    return home
