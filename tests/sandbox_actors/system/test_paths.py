"""The paths of files and sockets, which depend on the environment alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from sandbox_actors.actors.worker_records import WorkerRecords
from sandbox_actors.errors import Refused
from sandbox_actors.protocol.unix_socket import SOCKET_PATH_LIMIT
from sandbox_actors.system.paths import find_paths


def test_the_home_follows_the_xdg_state_folder() -> None:
    assert find_paths({"XDG_STATE_HOME": "/state"}).home == Path("/state/sandbox-actors")
    assert find_paths({"XDG_STATE_HOME": "not/absolute"}).home == Path.home() / ".local/state/sandbox-actors"
    assert find_paths({}).home == Path.home() / ".local/state/sandbox-actors"


def test_all_paths_are_in_the_home_that_was_given() -> None:
    paths = find_paths({"SANDBOX_HOME": "/h", "XDG_RUNTIME_DIR": "/tmp"})
    assert (paths.store, paths.envs) == (Path("/h/state.sqlite3"), Path("/h/envs"))
    assert (paths.daemon_log, paths.lock) == (Path("/h/daemon.log"), Path("/h/daemon.lock"))
    assert paths.logs("7") == Path("/h/experiments/7/log")
    assert (paths.socket, paths.worker_socket) == (Path("/h/daemon.sock"), Path("/h/workers.sock"))


def test_the_socket_of_the_default_home_lies_in_the_runtime_folder(tmp_path: Path) -> None:
    runtime = {"XDG_STATE_HOME": "/state", "XDG_RUNTIME_DIR": str(tmp_path)}
    if len(str(tmp_path)) < 60:
        assert find_paths(runtime).socket == tmp_path / "sandbox-actors" / "daemon.sock"
    gone = {**runtime, "XDG_RUNTIME_DIR": str(tmp_path / "gone")}
    assert find_paths(gone).socket == Path("/state/sandbox-actors/daemon.sock")


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_paths({"SANDBOX_HOME": "here"}).home == tmp_path / "here"


@pytest.mark.parametrize("variable", ["SANDBOX_HOME", "SANDBOX_SOCKET"])
def test_a_path_that_no_message_can_hold_is_refused(variable: str) -> None:
    with pytest.raises(Refused, match="not UTF-8") as refused:
        find_paths({"SANDBOX_HOME": "/h", variable: "/h/\udcff"})
    str(refused.value).encode()


def test_a_relative_home_needs_a_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert find_paths({"SANDBOX_HOME": "/h"}).home == Path("/h")
    with pytest.raises(Refused, match="the current folder was removed"):
        find_paths({"SANDBOX_HOME": "here"})


def test_a_given_socket_is_used_or_refused_but_not_moved() -> None:
    assert find_paths({"SANDBOX_SOCKET": "/s/sock"}).socket == Path("/s/sock")
    with pytest.raises(Refused, match=r"SANDBOX_SOCKET=/ssss.*107 bytes"):
        find_paths({"SANDBOX_SOCKET": "/" + "s" * SOCKET_PATH_LIMIT})


def test_a_home_too_deep_for_a_socket_gets_short_ones_of_its_own() -> None:
    deep = [find_paths({"SANDBOX_HOME": "/" + "d" * SOCKET_PATH_LIMIT + name}) for name in "aab"]
    assert all(
        len(os.fsencode(path)) <= SOCKET_PATH_LIMIT for each in deep for path in (each.socket, each.worker_socket)
    )
    assert deep[0] == deep[1]
    assert deep[0].socket.parent != deep[2].socket.parent
    assert deep[0].socket != deep[0].worker_socket


def test_prepare_creates_folders_for_this_user_only(tmp_path: Path) -> None:
    paths = find_paths({"SANDBOX_HOME": str(tmp_path / "h"), "SANDBOX_SOCKET": str(tmp_path / "s" / "sock")})
    paths.prepare()
    paths.prepare()
    assert [folder.stat().st_mode & 0o777 for folder in (tmp_path / "h", tmp_path / "s")] == [0o700, 0o700]


def test_a_socket_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    paths = find_paths({"SANDBOX_HOME": str(tmp_path / "h"), "SANDBOX_SOCKET": str(shared / "sock")})
    with pytest.raises(Refused, match="other users could replace"):
        paths.prepare()


def test_a_home_that_cannot_be_created_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match=r"file/home cannot be created: Not a directory; set SANDBOX_HOME"):
        find_paths({"SANDBOX_HOME": str(tmp_path / "file" / "home")}).prepare()


def test_a_looser_home_is_tightened_and_a_link_to_a_folder_of_ones_own_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    find_paths({"SANDBOX_HOME": str(tmp_path / "link")}).prepare()
    assert (tmp_path / "disk").stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_folder_for_temporary_files_is_refused_and_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "docs" / "thesis").mkdir(parents=True)
    paths = find_paths({"SANDBOX_HOME": str(tmp_path / "home")})
    paths.short.mkdir(mode=0o700)
    paths.scratch.symlink_to(tmp_path / "docs")
    records = WorkerRecords(paths.workers, paths.scratch)
    records.clear([], set())
    records.remove("thesis")
    with pytest.raises(Refused, match=r"scratch is a link.*set TMPDIR"):
        records.make_scratch("worker-1")
    with pytest.raises(Refused, match=r"scratch is a link.*set TMPDIR"):
        paths.prepare_scratch()
    paths.remove_empty_folders()
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["thesis"]


def test_all_that_needs_a_short_path_lies_in_one_folder_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    paths = find_paths({"SANDBOX_HOME": str(tmp_path / ("d" * SOCKET_PATH_LIMIT))})
    paths.prepare()
    paths.prepare_scratch()
    assert {paths.socket.parent, paths.worker_socket.parent, paths.scratch.parent} == {paths.short}
    assert paths.short.stat().st_mode & 0o777 == 0o700
    paths.remove_empty_folders()
    assert list((tmp_path / "t").iterdir()) == []
