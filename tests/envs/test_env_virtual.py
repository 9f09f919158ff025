"""Real environments by venv, virtualenv and uv: created, filled, used and removed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from envs import ENV_ROUTER, VirtualEnv
from envs.env_folder import default_root
from envs.interpreters import find_python, uv_binary
from envs.processes import CommandFailed
from sandbox_actors.errors import EnvError
from tests.envs.builders import REPOSITORY
from tests.envs.code_bases import write_code_base
from tests.envs.gates import has_ended

pytestmark = pytest.mark.real

MANAGERS = ("uv", "venv", "virtualenv")


def skip_without(manager: str) -> None:
    if manager == "virtualenv" and importlib.util.find_spec("virtualenv") is None:
        pytest.skip("virtualenv is not installed")


class Talk:
    """Collects what managers and installers print."""

    def __init__(self) -> None:
        self.data = b""

    def __call__(self, data: bytes) -> None:
        self.data += data


@pytest.fixture(scope="module", params=MANAGERS)
def made(request, tmp_path_factory):
    """One env per manager, at a path that no shell would survive unquoted."""
    skip_without(request.param)
    folder = tmp_path_factory.mktemp("envs") / 'it\'s a "$(touch pwned)"; -folder'
    env = ENV_ROUTER[request.param](env_name=f"{folder}/-env {request.param}", env_manager=request.param, output=Talk())
    assert not env.exists()
    env.create()
    return env


def output_of(env, command, **options) -> str:
    seen = bytearray()
    assert env.run_cmd(command, output=seen.extend, **options) == 0
    return seen.decode().strip()


def packages_of(env) -> list[str]:
    return sorted(path.name for path in env.prefix.glob("lib/python3*/site-packages/*.dist-info"))


def test_the_python_of_an_env_is_its_own(made):
    command = "import sys; print(sys.prefix); print(sys.prefix != sys.base_prefix)"
    assert output_of(made, ["python", "-c", command]).splitlines() == [str(made.prefix), "True"]
    done = subprocess.run([made.python_executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == str(made.prefix)


def test_no_name_reaches_a_shell(made):
    assert not list(made.prefix.parent.parent.rglob("pwned"))
    assert not list(Path.cwd().rglob("pwned"))


def test_creating_an_env_again_does_nothing(made):
    before = made.folder.marker.read_bytes()
    made.output = Talk()
    made.create()
    assert made.folder.marker.read_bytes() == before
    assert made.output.data == b""


def test_installed_packages_are_not_resolved_again(made):
    made.install_py_deps(["six", "iniconfig"])
    assert output_of(made, ["python", "-c", "import six, iniconfig; print(six.__name__)"]) == "six"
    made.output = Talk()
    made.install_py_deps(["iniconfig", "six"])
    assert made.output.data == b""
    subprocess.run([uv_binary(), "pip", "uninstall", "--quiet", "--python", made.python_executable, "six"], check=True)
    made.install_py_deps(["six", "iniconfig"])
    assert b"six" in made.output.data


def test_an_env_has_a_pip_of_its_own(made):
    assert str(made.prefix) in output_of(made, "pip --version")


def test_byte_code_exists_before_the_first_import(made):
    made.install_py_deps(["iniconfig"])
    folder = next(made.prefix.glob("lib/python3*/site-packages/iniconfig"))
    assert list((folder / "__pycache__").glob("*.pyc"))


def test_an_error_about_a_requirement_names_the_command_and_its_last_lines(made):
    before = packages_of(made)
    with pytest.raises(CommandFailed, match=r"(?s)uv pip install .*ended with exit status 1.*six==0\.0\.99") as caught:
        made.install_py_deps(["iniconfig", "six==0.0.99"])
    assert any("six==0.0.99" in line for line in caught.value.tail)
    assert packages_of(made) == before


def test_a_string_is_a_shell_command_and_a_list_is_not(made):
    assert output_of(made, "X=$(python -c 'print(6*7)') && echo got $X | tr g G") == "Got 42"
    words = ["$(touch pwned)", "it's", '"; true', "-n"]
    assert output_of(made, ["python", "-c", "import sys; print(sys.argv[1:])", *words]) == str(words)


def test_a_failed_command_raises_with_its_last_lines_or_returns_its_status(made):
    with pytest.raises(CommandFailed, match="exit status 3") as caught:
        made.run_cmd("echo oh no; exit 3", output=Talk())
    assert caught.value.tail == ["oh no"]
    assert made.run_cmd("exit 3", check=False) == 3


def test_a_command_can_be_ended_with_every_process_that_it_started(made, gate):
    cancel = threading.Event()
    thread = threading.Thread(target=lambda: (pids.append(gate.wait_until_reached()), cancel.set()))
    pids: list[int] = []
    thread.start()
    with pytest.raises(CommandFailed, match="was cancelled"):
        made.run_cmd(f"setsid sh -c '{gate.command}' & wait", cancel=cancel)
    thread.join()
    assert has_ended(pids[0])


def test_the_hosts_environment_does_not_leak_in(made, monkeypatch, tmp_path):
    (tmp_path / "leaked.py").write_text("")
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    command = "import importlib.util, os, sys; print(importlib.util.find_spec('leaked'), sys.dont_write_bytecode)"
    assert output_of(made, ["python", "-c", command]) == "None False"
    assert made.environ()["VIRTUAL_ENV"] == str(made.prefix)


def test_a_requirements_file_is_installed_with_the_folders_beside_it(made, tmp_path):
    write_code_base(tmp_path / "files" / "lib", "beside", 1)
    (tmp_path / "files" / "r.txt").write_text("./lib\n-r more.txt\n")
    (tmp_path / "files" / "more.txt").write_text("iniconfig\n")
    made.install_py_deps(str(tmp_path / "files" / "r.txt"))
    assert output_of(made, "python -c 'import beside; print(beside.value)'") == "1"
    write_code_base(tmp_path / "files" / "lib", "beside", 22)
    made.install_py_deps(tmp_path / "files" / "r.txt")
    assert output_of(made, "python -c 'import beside; print(beside.value)'") == "22"


def test_a_code_base_is_installed_editable_with_its_dependencies(made, tmp_path):
    folder = write_code_base(tmp_path / "code base", "codebase", 1)
    made.install_py_deps(str(folder))
    made.output = Talk()
    made.install_py_deps(str(folder))
    assert made.output.data == b""
    write_code_base(folder, "codebase", 22)
    assert output_of(made, "python -c 'import codebase; print(codebase.value)'") == "22"
    write_code_base(folder, "codebase", 22, '["sniffio"]')
    made.install_py_deps(folder)
    assert output_of(made, "python -c 'import sniffio; print(sniffio.__name__)'") == "sniffio"


def test_invalid_requirements_are_refused(made, tmp_path):
    (tmp_path / "empty").mkdir()
    for wrong in (["--index-url=https://example.org"], [""], ["six\nnumpy"], ["-r r.txt"]):
        with pytest.raises(EnvError, match="requirement"):
            made.install_py_deps(wrong)
    with pytest.raises(EnvError, match="not a requirements file or the folder"):
        made.install_py_deps("six")
    with pytest.raises(EnvError, match="nothing says what to install"):
        made.install_py_deps(tmp_path / "empty")


@pytest.mark.parametrize("manager", MANAGERS)
def test_the_example_of_the_guide_runs_unchanged(manager, tmp_path, capfd, monkeypatch):
    skip_without(manager)
    (tmp_path / "requirements.txt").write_text("six\n")
    library = write_code_base(tmp_path / "library", "library", 1)
    Path("train.py").write_text("import six, iniconfig, library; print('trained', library.value)")
    env_manager = manager
    env_name = "new_env"
    env = ENV_ROUTER[env_manager](env_name=env_name, env_manager=env_manager)
    if not env.check_availability():
        pytest.fail(env.why_unavailable)
    env.create()
    env.install_py_deps(str(tmp_path / "requirements.txt"))
    env.install_py_deps(["six", "iniconfig"])
    env.install_py_deps(str(library))
    cmd = "python train.py"
    env.run_cmd(cmd)
    assert capfd.readouterr().out == "trained 1\n"
    env.remove()
    assert not env.exists()
    assert list(default_root().iterdir()) == []


def test_packages_are_only_added_to_an_env_of_the_user():
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "mine"], check=True)
    kept = Path("mine/kept")
    kept.write_text("")
    env = VirtualEnv("mine", "uv")
    assert env.exists()
    env.create()
    env.install_py_deps(["six"])
    assert output_of(env, ["python", "-c", "import six; print(six.__file__)"]).startswith(str(Path.cwd() / "mine"))
    assert kept.exists()
    with pytest.raises(EnvError, match="not made by the sandbox"):
        env.remove()
    assert kept.exists()


def test_a_folder_that_is_not_an_env_is_not_changed():
    Path("data").mkdir()
    Path("data/precious").write_text("x")
    with pytest.raises(EnvError, match="is not an env"):
        VirtualEnv("./data", "uv", output=Talk()).create()
    assert Path("data/precious").read_text() == "x"


def test_an_env_can_be_created_with_a_requirements_file():
    Path("r.txt").write_text("six\n")
    env = VirtualEnv("configured", "uv", env_config_path="r.txt", output=Talk())
    env.create()
    assert output_of(env, "python -c 'import six; print(1)'") == "1"


def test_nothing_is_left_when_creating_an_env_fails():
    Path("r.txt").write_text("six==0.0.99\n")
    env = VirtualEnv("broken", "uv", env_config_path="r.txt", output=Talk())
    with pytest.raises(CommandFailed, match=r"six==0\.0\.99"):
        env.create()
    assert not env.exists()
    assert list(default_root().iterdir()) == []
    with pytest.raises(EnvError, match="there is no env 'broken'"):
        env.run_cmd("true")


@pytest.mark.parametrize("manager", MANAGERS)
def test_an_env_whose_creation_was_killed_does_not_exist_and_can_be_created_again(manager, tmp_path, gate):
    skip_without(manager)
    folder = write_code_base(tmp_path / "lib", "halfway", 1)
    text = (folder / "pyproject.toml").read_text()
    (folder / "stop.py").write_text(f"import os; os.system({gate.command!r}); os._exit(1)\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "stop"\nbackend-path = ["."]\n' + text.partition("[project]")[2]
    )
    Path("r.txt").write_text(f"{folder}\n")
    script = (
        "import sys; from envs import VirtualEnv; VirtualEnv('half', sys.argv[1], env_config_path='r.txt').create()"
    )
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", script, manager]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as maker:
        stray = gate.wait_until_reached()
        maker.kill()
    env = VirtualEnv("half", manager, env_config_path="r.txt", output=Talk())
    assert Path(env.python_executable).exists()
    assert not env.exists()
    (folder / "pyproject.toml").write_text(text)
    env.create()
    assert has_ended(stray)
    assert output_of(env, "python -c 'import halfway; print(halfway.value)'") == "1"


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_python_that_does_not_exist_is_an_error(manager):
    skip_without(manager)
    env = ENV_ROUTER[manager](env_name="future", env_manager=manager, env_py_version="3.99", output=Talk())
    with pytest.raises(EnvError, match=r"3\.99"):
        env.create()
    assert not env.exists()
    assert list(default_root().iterdir()) == []


@pytest.mark.parametrize("manager", MANAGERS)
def test_another_python_can_be_requested(manager):
    skip_without(manager)

    def not_here(command: list[str]) -> None:
        raise EnvError("only this one")

    for version in ("3.10", "3.12", "3.13"):
        try:
            find_python(version, not_here)
        except EnvError:
            continue
        env = ENV_ROUTER[manager](env_name="other", env_manager=manager, env_py_version=version, output=Talk())
        env.create()
        assert output_of(env, ["python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]) == version
        return
    pytest.skip("this machine has no other python")


def test_a_manager_of_another_kind_is_refused():
    with pytest.raises(EnvError, match="does not make virtual environments"):
        VirtualEnv("x", "conda")
    for name in ("", ".", "..", "a\0b"):
        with pytest.raises(EnvError, match="cannot be the name"):
            VirtualEnv(name, "uv")


def test_an_unreachable_index_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    env = VirtualEnv("offline", "uv", output=Talk())
    with pytest.raises(CommandFailed, match="the package index cannot be reached"):
        env.create()
    assert not env.exists()
