"""One home: the daemon and `ENV_ROUTER` look for envs in the same folder, whatever the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.env_folder import default_root
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
