"""The versions that were tested: written down for every shipped env, and taken when one is built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from envs import specs
from envs.base import _hint
from envs.builder import WORKER_DEPS, request_of
from envs.requirement_files import package_name
from envs.router import env_of
from envs.specs import LOCK_FOLDER, EnvSpec, load_spec, spec_names
from sandbox_actors.bootstrap import LOCK, NEWEST_VARIABLE
from sandbox_actors.errors import EnvError
from tests.lock import OTHER_SPECS, base_requirements, constraints

LINE = re.compile(r"[A-Za-z0-9][\w.-]*==[\w.!]+( ; .+)?")


@pytest.fixture(autouse=True)
def locks_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a run with `--newest`."""
    monkeypatch.delenv(NEWEST_VARIABLE, raising=False)


def locked(path: Path) -> set[str]:
    return {package_name(line) for line in path.read_text().splitlines() if not line.startswith("#")}


def names(requirements: list[str] | tuple[str, ...]) -> set[str]:
    return {package_name(line) for line in requirements}


def test_every_lock_has_a_day_and_holds_names_and_versions_alone() -> None:
    files = sorted(LOCK_FOLDER.iterdir())
    assert {path.stem for path in files} == {
        "base",
        *spec_names(),
        *(load_spec(str(path)).name for path in OTHER_SPECS),
    }
    for path in files:
        head, *lines = path.read_text().splitlines()
        assert re.search(r"on \d{4}-\d\d-\d\d\.$", head), path
        assert lines, path
        assert [line for line in lines if not LINE.fullmatch(line)] == [], path


def test_the_lock_of_the_sandbox_itself_holds_all_that_it_requires() -> None:
    required = names(base_requirements())
    assert {"trio", "pytest", "hatchling"} <= required <= locked(LOCK)


@pytest.mark.parametrize(
    ("resolved", "lines"),
    [
        ("torch==2.13.0+cpu", ["torch==2.13.0"]),
        ("six==1.0 ; python_full_version >= '3.12'", ["six==1.0 ; python_full_version >= '3.12'"]),
        ("six==1.0 ; platform_machine == 'aarch64'", ["six==1.0 ; platform_machine == 'aarch64'"]),
        ("six==1.0 ; sys_platform == 'win32' or python_version < '3.13'",) * 2,
        ("cffi==2.0 ; implementation_name == 'pypy' or platform_python_implementation != 'PyPy'",) * 2,
        ("six==1.0 ; python_full_version >= '3.12' and sys_platform == 'emscripten'", []),
        ("pywin32==1 ; sys_platform == 'win32'", []),
        ("six==1.0 ; python_version < '3.11'", []),
        ("nvidia-nccl==2.1\ntriton==3.0\ncuda-bindings==13.0\nsix==1.0", ["six==1.0"]),
        ("# a comment\n-e .\n", []),
    ],
)
def test_a_lock_holds_the_versions_that_linux_needs(resolved: str, lines: list[str] | str) -> None:
    assert constraints(resolved) == ([lines] if isinstance(lines, str) else lines)


@pytest.mark.parametrize("name", [*spec_names(), *map(str, OTHER_SPECS)])
def test_a_shipped_spec_is_built_by_its_lock(name: str, tmp_path: Path) -> None:
    spec = load_spec(name)
    assert Path(spec.lock).parent == LOCK_FOLDER
    assert names((*spec.deps, *WORKER_DEPS)) <= locked(Path(spec.lock))
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


def test_a_lock_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvError, match=r"versions\.txt"):
        _ = EnvSpec(name="own", lock=str(tmp_path / "versions.txt")).fingerprint


def test_a_shipped_spec_without_a_lock_takes_any_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(specs, "LOCK_FOLDER", tmp_path)
    assert load_spec("plain").lock == ""


@pytest.mark.parametrize("name", ["plain", *map(str, OTHER_SPECS)])
def test_a_variable_ignores_every_lock(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    by_lock = load_spec(name)
    monkeypatch.setenv(NEWEST_VARIABLE, "1")
    newest = load_spec(name)
    assert newest.lock == ""
    assert newest.fingerprint != by_lock.fingerprint


def test_versions_that_are_gone_are_an_error_that_names_the_way_out() -> None:
    tail = [
        "  × No solution found when resolving dependencies:",
        "  ╰─▶ Because there is no version of six==0.0.99 ...",
    ]
    assert f"{NEWEST_VARIABLE}=1" in _hint(tail)
