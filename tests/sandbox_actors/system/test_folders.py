"""Folders that other users have prepared, may change, or have put links into."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_actors.errors import Refused
from sandbox_actors.system.folders import make_private, remove_from, require_own_socket_folder
from tests.strangers import STRANGER

WAY_OUT = "set HERE to another folder"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """What must never be removed."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "thesis").write_text("years of work")
    return tmp_path / "docs"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that every user may write to, as the temporary folder is."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.mark.parametrize(("mode", "was_writable"), [(0o700, False), (0o755, False), (0o775, True), (0o1777, True)])
def test_a_folder_that_is_too_open_is_tightened(tmp_path: Path, mode: int, was_writable: bool) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    folder.chmod(mode)
    assert make_private(folder, WAY_OUT) is was_writable
    assert mode_of(folder) == 0o700
    assert make_private(folder, WAY_OUT) is False


def test_without_a_umask_no_folder_on_the_way_can_be_written_to_by_others(tmp_path: Path, no_umask: None) -> None:
    make_private(tmp_path / "a" / "b" / "c", WAY_OUT)
    assert [mode_of(tmp_path / each) for each in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_a_link_is_refused_where_it_is_not_the_users_own_choice(tmp_path: Path, docs: Path) -> None:
    docs.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(docs)
    with pytest.raises(Refused, match=f"{link} is a link, which is not followed there; remove it, or {WAY_OUT}"):
        make_private(link, WAY_OUT)
    assert mode_of(docs) == 0o755
    make_private(link, WAY_OUT, may_be_link=True)
    assert mode_of(docs) == 0o700
    (docs / "runs").symlink_to(tmp_path)
    with pytest.raises(Refused, match=f"{link}/runs is a link"):
        make_private(link / "runs", WAY_OUT)


def test_a_folder_below_one_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for check in (make_private, require_own_socket_folder):
        with pytest.raises(Refused, match=f"every user may write to {tmp_path}/open.*make it sticky, or {WAY_OUT}"):
            check(tmp_path / "open" / "home", WAY_OUT)


def test_a_file_in_the_place_of_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match=f"{tmp_path}/file cannot be created: File exists; {WAY_OUT}"):
        make_private(tmp_path / "file", WAY_OUT)


@as_root
def test_a_folder_of_another_user_is_refused_whatever_its_mode(shared: Path) -> None:
    for mode in (0o700, 0o755, 0o1777):
        folder = shared / f"{mode:o}"
        folder.mkdir()
        os.chown(folder, STRANGER, STRANGER)
        folder.chmod(mode)
        for check in (make_private, require_own_socket_folder):
            with pytest.raises(Refused, match=rf"{folder} belongs to another user \(uid {STRANGER}\); {WAY_OUT}"):
                check(folder, WAY_OUT)
        assert mode_of(folder) == mode


@as_root
def test_a_way_through_a_link_or_folder_of_another_user_is_refused(shared: Path, docs: Path) -> None:
    (shared / "link").symlink_to(docs)
    (shared / "folder").mkdir()
    (shared / "folder" / "home").mkdir()
    for each in ("link", "folder"):
        os.lchown(shared / each, STRANGER, STRANGER)
    for way in (shared / "link", shared / "link" / "home", shared / "folder" / "home"):
        with pytest.raises(Refused, match="belongs to another user"):
            make_private(way, WAY_OUT, may_be_link=True)
    assert sorted(os.listdir(docs)) in (["thesis"], ["home", "thesis"])
    assert mode_of(docs) != 0o700


@as_root
def test_what_another_user_has_left_in_a_folder_of_ours_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "runs").mkdir()
    os.chown(folder / "runs", STRANGER, STRANGER)
    for _ in range(2):  # that it is tightened the first time changes nothing
        with pytest.raises(Refused, match=f"{folder}/runs belongs to another user .*; remove it, or {WAY_OUT}"):
            make_private(folder, WAY_OUT)


def test_removing_follows_no_link(tmp_path: Path, docs: Path) -> None:
    folder = tmp_path / "scratch"
    (folder / "worker").mkdir(parents=True)
    (folder / "worker" / "inner").symlink_to(docs)
    (folder / "link").symlink_to(docs)
    for name in ("worker", "link", "missing"):
        remove_from(folder, name)
    assert list(folder.iterdir()) == []
    (tmp_path / "elsewhere").symlink_to(docs)
    remove_from(tmp_path / "elsewhere", "thesis")
    assert os.listdir(docs) == ["thesis"]


@as_root
def test_nothing_is_removed_from_a_folder_of_another_user(shared: Path, docs: Path) -> None:
    os.chown(docs, STRANGER, STRANGER)
    remove_from(docs, "thesis")
    assert os.listdir(docs) == ["thesis"]


def test_a_socket_may_lie_in_a_shared_folder_that_is_sticky(shared: Path) -> None:
    require_own_socket_folder(shared, WAY_OUT)
    assert mode_of(shared) == 0o1777
