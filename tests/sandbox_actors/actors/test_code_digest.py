"""The code that an actor runs is recognised by the names, sizes and times of files alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox_actors.actors.code_digest import Code, read_code
from sandbox_actors.actors.component_actor import ActorNeeds
from sandbox_actors.actors.environments import ReadyEnv
from sandbox_actors.protocol.worker_requests import ComponentRef


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "code" / "package"
    package.mkdir(parents=True)
    (package / "module.py").write_text("number = 1\n")
    return package.parent


@pytest.fixture
def python(tmp_path: Path) -> str:
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    install(site, "six-1.0")
    return str(tmp_path / "env" / "bin" / "python")


def install(site: Path, package: str, **origin: object) -> None:
    info = site / f"{package}.dist-info"
    info.mkdir()
    if origin:
        (info / "direct_url.json").write_text(json.dumps(origin))


def write(path: str, text: str = "") -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)

    return change


@pytest.mark.parametrize(
    "change",
    [
        write("package/module.py", "number = 22\n"),
        write("package/deep/er/new.py"),
        write("package/native.so"),
        lambda folder: os.utime(folder / "package" / "module.py", (1, 1)),
        lambda folder: (folder / "package" / "module.py").unlink(),
        lambda folder: (folder / "package" / "module.py").rename(folder / "package" / "other.py"),
    ],
    ids=["longer", "new", "extension module", "same size, other time", "gone", "renamed"],
)
def test_a_change_of_code_is_seen(folder: Path, python: str, change: Callable[[Path], object]) -> None:
    before = read_code(python, [str(folder)])
    assert read_code(python, [str(folder)]) == before
    change(folder)
    assert read_code(python, [str(folder)]).digest != before.digest


@pytest.mark.parametrize(
    "change",
    [
        write("package/data.json", "{}"),
        write("package/__pycache__/module.cpython-311.pyc"),
        write(".git/hooks/hook.py"),
        lambda folder: [write(f"my env/{path}")(folder) for path in ("pyvenv.cfg", "lib/six.py")],
        lambda folder: (folder / "dangling.py").symlink_to("nowhere"),
    ],
    ids=["data", "byte code", "hidden folder", "an env that lies there", "dangling link"],
)
def test_a_change_of_anything_else_is_none(folder: Path, python: str, change: Callable[[Path], object]) -> None:
    before = read_code(python, [str(folder)])
    change(folder)
    assert read_code(python, [str(folder)]) == before


def test_links_are_followed_and_circles_end(folder: Path, python: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write("module.py")(elsewhere)
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    before = read_code(python, [str(folder)])
    write("module.py", "more")(elsewhere)
    assert read_code(python, [str(folder)]).digest != before.digest


def test_what_the_env_holds_is_part_of_it_and_editable_packages_with_their_files(tmp_path: Path, python: str) -> None:
    site, base = Path(python).parents[1] / "lib" / "python3.11" / "site-packages", tmp_path / "base with blanks"
    write("module.py")(base)
    digests = [read_code(python, []).digest]
    install(site, "base-1.0", url=base.as_uri(), dir_info={"editable": True})
    digests.append(read_code(python, []).digest)
    write("module.py", "more")(base)
    digests.append(read_code(python, []).digest)
    assert len(set(digests)) == 3


def test_a_package_that_was_copied_into_the_env_does_not_follow_its_folder(tmp_path: Path, python: str) -> None:
    site, base = Path(python).parents[1] / "lib" / "python3.11" / "site-packages", tmp_path / "base"
    write("module.py")(base)
    install(site, "base-1.0", url=base.as_uri(), dir_info={})
    before = read_code(python, [])
    write("module.py", "more")(base)
    assert read_code(python, []) == before


def test_folders_that_are_not_there_are_no_error(tmp_path: Path) -> None:
    assert read_code(str(tmp_path / "bin" / "python"), [str(tmp_path / "none")]).changed == 0.0


def test_code_is_settled_when_byte_code_can_no_longer_be_mistaken() -> None:
    assert not Code("x", 1000.9).is_settled(1001.5)
    assert not Code("x", 5000.0).is_settled(1001.5), "a clock that goes ahead"
    assert Code("x", 1000.0).is_settled(1002.0)


def test_actors_of_different_code_do_not_stand_in_for_each_other() -> None:
    def wanted(digest: str) -> ActorNeeds:
        component, env = ComponentRef(target="mine:Tells", paths=["/code"]), ReadyEnv("plain", "/env/bin/python", {})
        code = Code(digest)
        return ActorNeeds(label="t", component=component, env=env, model_key="", cpus=1, keep_alive=1.0, code=code)

    assert wanted("a").process_key == wanted("a").process_key != wanted("b").process_key
