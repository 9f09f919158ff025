"""One home: the daemon and `ENV_ROUTER` look for envs in the same folder, whatever the environment says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envs.env_folder import default_root
from sandbox_actors.errors import Refused
from sandbox_actors.home import sandbox_home
from sandbox_actors.system.paths import find_paths


@pytest.mark.parametrize("variable", ["SANDBOX_HOME", "XDG_STATE_HOME"])
@pytest.mark.parametrize("value", ["", "relative/folder", "~/in/the/home", "/absolute"])
def test_the_daemon_and_the_env_router_agree(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    for name in ("SANDBOX_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert default_root() == find_paths().envs
    assert default_root().is_absolute()


def test_a_relative_state_folder_does_not_count() -> None:
    assert sandbox_home({"XDG_STATE_HOME": "here"}) == Path.home() / ".local" / "state" / "sandbox-actors"


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_a_user_without_a_home_folder_is_referred_to_the_variable(
    monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # no entry in the list of users
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    with pytest.raises(Refused, match=r"uid 54321\) has no home folder: .* set SANDBOX_HOME"):
        sandbox_home({})
    assert sandbox_home({"SANDBOX_HOME": "/h"}) == Path("/h")
    assert sandbox_home({"XDG_STATE_HOME": "/state"}) == Path("/state/sandbox-actors")


@pytest.mark.parametrize("variable", ["SANDBOX_HOME", "SANDBOX_SOCKET"])
def test_the_home_of_an_unknown_user_is_refused_by_the_variable(variable: str) -> None:
    with pytest.raises(Refused, match=f"{variable}=~no-such-user/x: no home folder is known for ~no-such-user"):
        find_paths({"XDG_STATE_HOME": "/state", variable: "~no-such-user/x"})


def test_a_relative_home_in_a_folder_that_was_removed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(Refused, match="SANDBOX_HOME=here: the current folder was removed; give an absolute path"):
        sandbox_home({"SANDBOX_HOME": "here"})
