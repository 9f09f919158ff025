"""What the marks `unit` and `real` promise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.__main__ import other_pythons

STARTS: list[Callable[[], object]] = [
    lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ),
    lambda: os.system("true"),
    os.fork,
]


@pytest.mark.parametrize("start", STARTS)
def test_a_unit_test_cannot_start_a_process(request: pytest.FixtureRequest, start: Callable[[], object]) -> None:
    assert request.node.get_closest_marker("unit")
    with pytest.raises(AssertionError, match="mark it `real`"):
        start()


@pytest.mark.real
def test_a_real_test_can(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("unit") is None
    subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.real
def test_other_pythons_are_those_that_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyenv = tmp_path / "pyenv" / "versions" / "3.15.2" / "bin" / "python3.15"
    on_path = [tmp_path / f"python3.{minor}" for minor in (10, *sys.version_info[1:2], 16, 15, 17)]
    for path in (pyenv, *on_path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\nexit {int(path.name in ('python3.15', 'python3.17') and path is not pyenv)}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    found = other_pythons()
    assert found["3.15"] == str(pyenv)
    assert found["3.16"] == str(tmp_path / "python3.16")
    assert not {"3.10", "3.17", f"3.{sys.version_info[1]}"} & found.keys()
