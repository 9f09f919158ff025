"""The envs that an experiment ran in: recorded with it, shown, and built again with the same versions."""

from __future__ import annotations

import json
import platform
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.envs.code_bases import write_code_base, write_wheel

from .env_sandbox import EnvSandbox, value

NAME = "sandboxed_wheel"
DISTRIBUTION = "sandboxed-wheel"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    write_wheel(tmp_path / "wheels", NAME, "1.0")
    return tmp_path / "wheels"


def shown(sandbox: EnvSandbox, id: str) -> list[dict[str, Any]]:
    envs: list[dict[str, Any]] = json.loads(sandbox.command("show", id, "--json").stdout)["envs"]
    return envs


def create_from(sandbox: EnvSandbox, *arguments: str) -> dict[str, Any]:
    """The last event of `sandbox env create --json --from`."""
    done = sandbox.command("env", "create", "--json", "--from", *arguments)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    event: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return event


def packages(sandbox: EnvSandbox, path: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(sandbox.command("env", "show", "--json", path).stdout)["packages"]
    return found


def test_each_experiment_has_the_versions_that_it_ran_with_and_its_env_can_be_built_again(
    env_sandbox: EnvSandbox, wheels: Path
) -> None:
    env_sandbox.write_code("sandboxed_wheel.version", first="import sandboxed_wheel")
    spec = {"deps": [NAME], "find_links": [str(wheels)]}
    first = env_sandbox.run_job("own", own=spec)
    for worker in json.loads(env_sandbox.command("ps", "--json").stdout):
        env_sandbox.command("stop", worker["worker"])
    assert env_sandbox.command("env", "rm", "own").returncode == 0
    write_wheel(wheels, NAME, "2.0+cpu")
    second = env_sandbox.run_job("own", own=spec)
    assert [value(first)[1], value(second)[1]] == ["1.0", "2.0+cpu"]
    env_sandbox.stop()
    env_sandbox.start()
    for detail, version in ((first, "1.0"), (second, "2.0+cpu")):
        id = detail.experiment.id
        python = platform.python_version()
        line = rf"^own +uv +{re.escape(python)} +{NAME} {re.escape(version)}, 3 others$"
        assert re.search(line, env_sandbox.command("show", id).stdout, re.M)
        (env,) = shown(env_sandbox, id)
        assert (env["name"], env["python"], env["packages"][NAME]) == ("own", python, version)
        assert env["jobs"] == ["anonymous.job"]
        event = create_from(env_sandbox, id)
        assert (event["event"], event["name"], event["notes"]) == ("ready", "own", [])
        assert packages(env_sandbox, event["path"]) == env["packages"]
        again = env_sandbox.run_job("again", again={"path": event["path"]})
        assert value(again) == (Path(event["path"]).name, version)


def test_an_env_is_stored_once_however_many_jobs_run_in_it(env_sandbox: EnvSandbox) -> None:
    ids = [env_sandbox.run_job().experiment.id for _ in range(3)]
    assert len({env["digest"] for id in ids for env in shown(env_sandbox, id)}) == 1
    env_sandbox.stop()
    with closing(sqlite3.connect(env_sandbox.paths.store)) as store:
        assert store.execute("SELECT (SELECT count(*) FROM envs), (SELECT count(*) FROM job_envs)").fetchone() == (1, 3)


def test_what_comes_from_a_folder_is_installed_from_it_again_and_said(env_sandbox: EnvSandbox) -> None:
    folder = env_sandbox.cwd
    read = write_code_base(folder / "read here", "read_here", 1)
    copied = write_code_base(folder / "copied", "copied", 1)
    env_sandbox.write_code("[copied.value, read_here.value]", first="import copied, read_here")
    id = env_sandbox.run_job("own", own={"deps": [f"-e {read}", str(copied)]}).experiment.id
    assert f"read_here 1.0 (-e {read})" in env_sandbox.command("show", id).stdout
    write_code_base(copied, "copied", 2)
    (copied / "copied.py").write_text('"""A module."""\n__version__ = "1.1"\nvalue = 2\n')
    (copied / "pyproject.toml").write_text((copied / "pyproject.toml").read_text().replace('"1.0"', '"1.1"'))
    event = create_from(env_sandbox, id)
    assert event["notes"] == [
        f"copied 1.0 is installed from {copied} as it is now",
        f"read_here 1.0 is read from {read} as it is now",
        "copied is 1.1, and was 1.0",
    ]
    assert value(env_sandbox.run_job("again", again={"path": event["path"]}))[1] == [2, 1]


def test_an_experiment_that_ran_before_envs_were_recorded_says_so(env_sandbox: EnvSandbox) -> None:
    id = env_sandbox.run_job().experiment.id
    env_sandbox.stop()
    with closing(sqlite3.connect(env_sandbox.paths.store)) as store, store:
        store.execute("DELETE FROM job_envs")
    env_sandbox.start()
    assert "the environments of this experiment were not recorded" in env_sandbox.command("show", id).stderr
    assert shown(env_sandbox, id) == []
    refused = env_sandbox.command("env", "create", "--from", id)
    assert refused.returncode == 2
    assert "were not recorded" in refused.stderr


def test_one_of_several_envs_can_be_named(env_sandbox: EnvSandbox, wheels: Path) -> None:
    spec = {"deps": [NAME], "find_links": [str(wheels)]}
    id = env_sandbox.run_job("own", own=spec, other={}).experiment.id
    refused = env_sandbox.command("env", "create", "other", "--from", id)
    assert refused.returncode == 2
    assert f"no job of experiment {id} ran in an environment 'other'; known: own" in refused.stderr
    assert create_from(env_sandbox, "@", "own")["name"] == "own"
    assert "give the name or path of a spec" in env_sandbox.command("env", "create").stderr
