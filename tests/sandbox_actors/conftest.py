"""Fixtures of the core's tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current folder with a `data.jsonl` in it, for experiment files that name one."""
    monkeypatch.chdir(tmp_path)
    Path("data.jsonl").write_text("{}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a store that is yet to be made, in a folder that is too."""
    return tmp_path / "home" / "state.sqlite3"
