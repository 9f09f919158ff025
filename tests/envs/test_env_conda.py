"""Conda environments: real ones by py-rattler and by the managers on the PATH; command lines by a stand-in."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from envs import ENV_ROUTER, CondaEnv
from envs.conda import create_command, env_folders, with_python
from envs.conda_yaml import read_environment_file
from envs.env_folder import default_root
from envs.processes import CommandFailed
from sandbox_actors.errors import EnvError, EnvManagerMissing
from tests.envs import conda_stand_in
from tests.envs.builders import build
from tests.envs.conda_channel import write_channel
from tests.envs.gates import has_ended

pytestmark = pytest.mark.real

REAL = ("conda", "mamba", "micromamba")
HOST = ".".join(map(str, sys.version_info[:2]))


def quiet(data: bytes) -> None:
    """Discard what managers print."""


@pytest.fixture(scope="module")
def channel(tmp_path_factory) -> Path:
    return write_channel(tmp_path_factory.mktemp("channel"))


@pytest.fixture(params=REAL)
def stand_in(request, tmp_path, monkeypatch) -> str:
    """The name of a manager; a stand-in of that name is on the PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    program = folder / request.param
    program.write_text(f"#!{sys.executable}\n" + Path(conda_stand_in.__file__).read_text())
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return request.param


def calls(tmp_path: Path) -> list[list[str]]:
    return [json.loads(line) for line in (tmp_path / "programs" / "calls").read_text().splitlines()]


def output_of(env, command) -> str:
    seen = bytearray()
    env.run_cmd(command, output=seen.extend)
    return seen.decode().strip()


# --- without any conda: py-rattler, from a channel in a local folder ------------------------------------------------


def test_rattler_creates_a_conda_env_without_conda(channel):
    env = ENV_ROUTER["rattler"](env_name="it's $(x)", env_manager="rattler", output=quiet)
    assert env.check_availability()
    env.channels = (str(channel),)
    env.create()
    assert env.prefix == default_root() / "it's $(x)"
    assert list((env.prefix / "conda-meta").glob("python-*.json"))
    env.install_py_deps(["six"])
    assert output_of(env, "python -c 'import six, sys; print(sys.prefix)'") == str(env.prefix)
    assert env.environ()["CONDA_PREFIX"] == str(env.prefix)
    env.remove()
    assert not env.exists()


def test_a_spec_with_conda_packages_is_built_by_rattler(channel, tmp_path):
    spec = {"manager": "rattler", "channels": [str(channel)], "packages": [f"python={HOST}"], "deps": ["six"]}
    ready = build(tmp_path / "envs", spec)
    assert ready["event"] == "ready", ready
    assert build(tmp_path / "envs", spec)["reused"] is True


def test_a_package_that_no_channel_has_is_named(channel, tmp_path):
    spec = {"manager": "rattler", "channels": [str(channel)], "packages": ["no-such-package"]}
    failed = build(tmp_path / "envs", spec)
    assert failed["event"] == "failed"
    assert any("no-such-package" in line for line in failed["tail"])
    assert [path.suffix for path in (tmp_path / "envs").iterdir()] == [".log"]


# --- the command lines of conda, mamba and micromamba ---------------------------------------------------------------


def test_a_named_env_is_created_where_its_manager_looks_for_it(stand_in, tmp_path):
    env = ENV_ROUTER[stand_in](env_name="new_conda_env", env_manager=stand_in, env_py_version=HOST, output=quiet)
    assert env.check_availability()
    assert not env.exists()
    env.create()
    prefix = tmp_path / "programs" / "root" / "envs" / "new_conda_env"
    assert env.prefix == prefix
    assert output_of(env, ["python", "-c", "import sys; print(sys.prefix)"]) == str(prefix)
    forge = ["--channel", "conda-forge"] if stand_in == "micromamba" else []
    assert calls(tmp_path) == [
        ["info", "--json"],
        ["create", "--yes", "--prefix", str(prefix), *forge, f"python={HOST}"],
    ]
    assert ENV_ROUTER[stand_in](env_name="new_conda_env", env_manager=stand_in).exists()


def test_an_environment_file_is_used(stand_in, tmp_path):
    (tmp_path / "more.txt").write_text("iniconfig\n")
    file = tmp_path / "environment.yml"
    file.write_text(
        "name: ignored\nchannels: [conda-forge, nodefaults]\nvariables: {MODE: fast}\n"
        "dependencies: [conda-forge::python=3.11, ffmpeg, pip: [six, -r more.txt]]\n"
    )
    env = CondaEnv("from_file", stand_in, file, output=quiet)
    env.create()
    options = ["--override-channels", "--channel", "conda-forge", "--channel", "nodefaults"]
    packages = ["conda-forge::python=3.11", "ffmpeg"]
    assert calls(tmp_path)[-1] == ["create", "--yes", "--prefix", str(env.prefix), *options, *packages]
    assert output_of(env, "python -c 'import six, iniconfig, os; print(os.environ[\"MODE\"])'") == "fast"


def test_the_base_env_is_the_managers_own(stand_in, tmp_path):
    assert CondaEnv("base", stand_in).prefix == tmp_path / "programs" / "root"


def test_a_failed_manager_leaves_nothing_and_its_last_lines_are_reported(stand_in):
    env = CondaEnv("broken", stand_in, packages=["no-such-package"], output=quiet)
    with pytest.raises(CommandFailed, match=r"(?s)create --yes .*PackagesNotFoundError: no-such-package"):
        env.create()
    assert not env.prefix.exists()
    assert not env.exists()


def test_a_manager_that_hangs_is_ended(stand_in, tmp_path, gate):
    (tmp_path / "programs" / stand_in).write_text(f"#!/bin/sh\necho solving\n{gate.command}\n")
    pids: list[int] = []

    def interrupt_when_solving(data: bytes) -> None:
        if data.startswith(b"solving"):
            pids.append(gate.wait_until_reached())
            raise KeyboardInterrupt

    env = CondaEnv(f"{tmp_path}/hangs", stand_in, output=interrupt_when_solving)
    with pytest.raises(KeyboardInterrupt):
        env.create()
    assert has_ended(pids[0])
    assert not env.exists()


def test_options_are_not_accepted_as_names():
    for words in (["--prefix=/elsewhere"], [""]):
        with pytest.raises(EnvError, match="is not a conda package or channel"):
            create_command("conda", "conda", Path("/env"), [], words)
        with pytest.raises(EnvError, match="is not a conda package or channel"):
            create_command("conda", "conda", Path("/env"), words, [])


def test_without_a_version_an_env_gets_the_hosts_python():
    assert with_python(["ffmpeg"], "") == [f"python={HOST}", "ffmpeg"]
    assert with_python(["python>=3.10"], "") == ["python>=3.10"]
    assert with_python(["python-dateutil"], "3.12") == ["python=3.12", "python-dateutil"]


def test_both_sets_of_keys_of_info_are_supported():
    conda = {"root_prefix": "/conda", "envs_dirs": ["/conda/envs"]}
    mamba = {"base environment": "/conda (writable)", "envs directories": ["/conda/envs"]}
    assert env_folders(conda) == env_folders(mamba) == (Path("/conda"), [Path("/conda/envs")])
    with pytest.raises(EnvError, match="does not say where"):
        env_folders({})


def test_an_invalid_environment_file_is_an_error(tmp_path):
    file = tmp_path / "environment.yml"
    for text in ("[", "- a list\n", "dependencies: [{npm: [left-pad]}]\n"):
        file.write_text(text)
        with pytest.raises(EnvError, match="environment file"):
            read_environment_file(file)


@pytest.mark.parametrize("manager", REAL)
def test_a_missing_manager_is_an_error_that_says_what_to_do(manager, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("CONDA_EXE", "MAMBA_EXE"):
        monkeypatch.delenv(name, raising=False)
    env = CondaEnv("x", manager)
    assert not env.check_availability()
    assert env.why_unavailable.startswith(f"{manager} is not on the PATH; the manager rattler creates")
    with pytest.raises(EnvManagerMissing, match="not on the PATH"):
        env.create()


# --- a real conda, mamba or micromamba ------------------------------------------------------------------------------


@pytest.mark.parametrize("manager", REAL)
def test_a_real_manager_creates_a_real_env(manager, channel, tmp_path):
    if not shutil.which(manager):
        pytest.skip(f"there is no {manager} on the PATH")
    env = CondaEnv(f"{tmp_path}/real", manager, channels=[channel.as_uri()], output=quiet)
    assert env.check_availability()
    env.create()
    env.install_py_deps(["six"])
    assert output_of(env, "python -c 'import six, sys; print(sys.prefix)'") == str(env.prefix)
    env.remove()
    assert not env.exists()
