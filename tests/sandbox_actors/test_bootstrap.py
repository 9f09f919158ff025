"""The set-up of `.venv`, with a Python that writes down what it is called with instead of installing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox_actors import bootstrap
from sandbox_actors.bootstrap import NEWEST_VARIABLE, prepare

pytestmark = pytest.mark.real

STAND_IN = """#!/bin/sh
echo "$* | $PIP_CONSTRAINT | $PIP_BUILD_CONSTRAINT" >> "{log}"
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi
if [ "$2" = pip ]; then exit {status}; fi
"""


class Project:
    def __init__(self, root: Path) -> None:
        self.root, self.log, self.base = root, root / "log", root / "base-python"
        self.lock = root / "configs" / "locks" / "base.txt"
        self.lock.parent.mkdir(parents=True)
        self.lock.write_text("six==1.0\n")
        (root / "pyproject.toml").write_text("")
        self.log.write_text("")
        self.write_base(0)

    def write_base(self, status: int) -> None:
        self.base.write_text(STAND_IN.format(log=self.log, status=status))
        self.base.chmod(0o755)

    def prepare(self) -> Path:
        return prepare("dev", base=str(self.base))

    def calls(self) -> list[str]:
        """What was called since the last look."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return lines


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path / "with a space")
    monkeypatch.setattr(bootstrap, "ROOT", made.root)
    monkeypatch.setattr(bootstrap, "LOCK", made.lock)
    for name in (NEWEST_VARIABLE, "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_the_versions_of_the_lock_are_installed_once_for_each_lock(project: Project) -> None:
    venv = project.root / ".venv"
    assert project.prepare() == venv / "bin" / "python"
    made, installed = project.calls()
    assert made.startswith(f"-m venv {venv} |")
    command, *given = installed.split(" | ")
    assert command.endswith(f"--editable {project.root}[dev]")
    assert given == [project.lock.as_uri()] * 2
    project.prepare()
    assert project.calls() == []
    project.lock.write_text("six==1.1\n")
    project.prepare()
    assert len(project.calls()) == 1


def test_the_venv_is_kept_by_whichever_python_it_is_asked_for(project: Project, tmp_path: Path) -> None:
    project.prepare()
    project.calls()
    other = tmp_path / "other-python"
    other.write_text(project.base.read_text())
    other.chmod(0o755)
    assert prepare("dev", base=str(other)) == project.root / ".venv" / "bin" / "python"
    assert project.calls() == []


def test_another_python_below_the_venv_is_filled_again(project: Project, tmp_path: Path) -> None:
    python = project.prepare()
    project.calls()
    upgraded = python.rename(tmp_path / "upgraded-python")
    python.symlink_to(upgraded)
    project.prepare()
    assert len(project.calls()) == 1


def test_constraints_of_the_user_are_kept(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONSTRAINT", "/mine.txt")
    project.prepare()
    assert f"| /mine.txt {project.lock.as_uri()} |" in project.calls()[1]


def test_the_newest_versions_are_in_a_venv_apart(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NEWEST_VARIABLE, "1")
    assert project.prepare() == project.root / ".venv-newest" / "bin" / "python"
    assert "base.txt" not in os.linesep.join(project.calls())
    assert not (project.root / ".venv").exists()


def test_versions_that_cannot_be_installed_are_an_error_that_names_the_way_out(project: Project) -> None:
    project.write_base(1)
    with pytest.raises(SystemExit, match=f"status 1: .*\n.*{NEWEST_VARIABLE}=1 ignores the versions in configs/locks"):
        project.prepare()
    project.calls()
    with pytest.raises(SystemExit):
        project.prepare()
    assert len(project.calls()) == 1  # what failed is tried again


@pytest.mark.parametrize("module", ["sandbox_actors.__main__", "tests.__main__", "tests.lock"])
def test_what_sets_up_the_venv_needs_only_the_standard_library(module: str) -> None:
    code = f"import importlib; importlib.import_module({module!r})"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=bootstrap.ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
