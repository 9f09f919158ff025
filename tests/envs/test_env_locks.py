"""The versions that were tested: written down for every shipped env, and taken when one is built."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from envs.builder import request_of
from envs.requirement_files import package_name
from envs.router import env_of
from envs.specs import LOCK_FOLDER, EnvSpec, load_spec, spec_names
from sandbox_actors.bootstrap import LOCK, NEWEST_VARIABLE, ROOT

LINE = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.!]+( ; .+)?")


def locked(path: Path) -> set[str]:
    return {package_name(line) for line in path.read_text().splitlines() if not line.startswith("#")}


def names(requirements: list[str] | tuple[str, ...]) -> set[str]:
    return {package_name(line) for line in requirements}


def test_every_lock_has_a_day_and_holds_names_and_versions_alone() -> None:
    files = sorted(LOCK_FOLDER.iterdir())
    assert {path.stem for path in files} == {"base", *spec_names()}
    for path in files:
        head, *lines = path.read_text().splitlines()
        assert re.search(r"on \d{4}-\d\d-\d\d\.$", head), path
        assert lines == sorted(lines, key=str.lower) or lines, path
        assert [line for line in lines if not LINE.fullmatch(line)] == [], path


def test_the_lock_of_the_sandbox_itself_holds_all_that_it_requires() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    assert names([*project["dependencies"], *extras]) <= locked(LOCK)


@pytest.mark.parametrize("name", spec_names())
def test_a_shipped_spec_is_built_by_its_lock(name: str, tmp_path: Path) -> None:
    spec = load_spec(name)
    assert names(spec.deps) <= locked(Path(spec.lock))
    assert f"-c {spec.lock}" in request_of(spec, env_of(spec, tmp_path)).lines


def test_another_lock_is_another_env(tmp_path: Path) -> None:
    prints = []
    for version in ("1.0", "1.1"):
        (tmp_path / "lock.txt").write_text(f"six=={version}\n")
        prints.append(EnvSpec(name="own", deps=("six",), lock=str(tmp_path / "lock.txt")).fingerprint)
    assert len({*prints, EnvSpec(name="own", deps=("six",)).fingerprint}) == 3


def test_the_same_lock_elsewhere_is_the_same_env(tmp_path: Path) -> None:
    prints = set()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lock.txt").write_text("six==1.0\n")
        prints.add(EnvSpec(name="own", deps=("six",), lock=str(tmp_path / folder / "lock.txt")).fingerprint)
    assert len(prints) == 1


def test_a_spec_of_the_users_own_has_the_lock_that_it_names_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text("deps: [six]\n")
    assert load_spec(str(tmp_path / "plain.yaml")).lock == ""
    (tmp_path / "plain.yaml").write_text("deps: [six]\nlock: versions.txt\n")
    assert load_spec(str(tmp_path / "plain.yaml")).lock == str(tmp_path / "versions.txt")


def test_the_newest_versions_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NEWEST_VARIABLE, "1")
    assert load_spec("plain").lock == ""
