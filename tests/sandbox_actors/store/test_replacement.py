"""Replacing a database file: complete or not at all, under a name that cannot be guessed, without leftovers."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_actors.store.replacement import replacement


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("old")
    return path


def test_the_file_is_replaced_when_the_block_ends(path: Path) -> None:
    with replacement(path) as new:
        assert new.stat().st_mode & 0o777 == 0o600
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_is_kept_and_the_new_one_removed_when_the_block_raises(path: Path) -> None:
    def fail() -> None:
        with replacement(path) as new:
            new.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_no_two_replacements_have_the_same_name(path: Path) -> None:
    names = set()
    for _ in range(3):
        with replacement(path) as new:
            names.add(new.name)
    assert len(names) == 3


def test_what_a_killed_process_has_left_behind_is_removed(path: Path) -> None:
    for name in (".file.0123.unfinished", ".file.0123.unfinished-wal", "file.other"):
        (path.parent / name).write_text("left")
    with replacement(path):
        pass
    assert sorted(each.name for each in path.parent.iterdir()) == ["file", "file.other"]
