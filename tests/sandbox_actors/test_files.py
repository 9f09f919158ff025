"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox_actors.errors import ConfigError
from sandbox_actors.files import make_folders, own_file, tail, user_path, whole_file, write_whole


def test_a_file_is_replaced_when_the_block_ends_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with whole_file(path, is_durable=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_names_is_not_touched(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"precious")
    link.symlink_to(victim)
    write_whole(link, b"mine")
    assert victim.read_bytes() == b"precious"
    assert not link.is_symlink()


def test_writers_at_the_same_time_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole_file(path) as first:
        first.write(b"first")
        with whole_file(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_the_one_that_was_asked_for(tmp_path: Path, mode: int) -> None:
    previous = os.umask(0o022)
    try:
        write_whole(tmp_path / "file", b"", mode=mode)
    finally:
        os.umask(previous)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_the_tail_of_a_file_is_bounded_and_splits_progress_bars(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000 + b"\nfirst\rsecond\n\nthird \xff\n")
    assert tail(log, 3) == "first\nsecond\nthird \ufffd"
    assert len(tail(log, 10)) < 5000
    assert tail(tmp_path / "none", 3) == ""


def test_a_link_or_a_file_of_another_user_is_not_used_as_a_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        own_file(tmp_path / "link", os.O_WRONLY)
    with open(tmp_path / "new", "ab", opener=own_file) as file:
        file.write(b"mine")
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:  # nobody else can make a file of another user
        os.chown(tmp_path / "new", 54321, 54321)
        with pytest.raises(PermissionError, match="belongs to another user"):
            own_file(tmp_path / "new", os.O_WRONLY)
    assert (tmp_path / "precious").read_text() == "precious"


def test_folders_are_made_without_leaving_them_open_to_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_folders(tmp_path / "a" / "b")
        make_folders(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert [(tmp_path / each).stat().st_mode & 0o777 for each in ("a", "a/b")] == [0o755, 0o755]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        make_folders(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        make_folders(Path("/proc/nothing/can/be/made/here"))


def test_a_home_folder_that_is_not_known_is_reported_and_not_taken_for_a_name() -> None:
    assert user_path("~/x") == Path.home() / "x"
    assert user_path("a/~b") == Path("a/~b")
    with pytest.raises(ConfigError, match="~no-such-user-here/x: no home folder is known for ~no-such-user-here"):
        user_path("~no-such-user-here/x")
