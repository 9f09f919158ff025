"""Pythons to make envs from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import uv

from envs.variables import tool_environ
from sandbox_actors.errors import EnvError, EnvManagerMissing

ASK = "import sys; print(*sys.version_info[:3], sep='.')"
VERSION = re.compile(r"\d+(\.\d+){0,2}")
_PYTHON_DEADLINE = 20.0


def uv_binary() -> str:
    try:
        return os.fspath(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise EnvManagerMissing(f"the uv package is installed, but its program is not: {error}") from error


def version_text(version: str | float | None) -> str:
    """A version as text; empty for none. The number 3.1 is what YAML and Python read where someone wrote 3.10."""
    return "3.10" if version == 3.1 else str(version or "")


def host_interpreter() -> str:
    """The python behind this process; in a venv, the one that the venv was made from."""
    return getattr(sys, "_base_executable", "") or sys.executable


def find_python(version: str, call: Callable[[list[str]], object]) -> str:
    """A python of that version (`3.11`, `3.11.7`, or a path), installed by uv if this machine has none. EnvError.

    `call` runs the command that installs one, and raises EnvError if it fails.
    """
    if not version:
        return host_interpreter()
    if os.sep in version:
        if not python_version(version):
            raise EnvError(f"{version} is no python that runs")
        return version
    if not VERSION.fullmatch(version):
        raise EnvError(f"{version!r} is no python version: write one such as 3.11, or the path of a python")
    for candidate in _candidates(version):
        if _matches(version, python_version(candidate)):
            return candidate
    call([uv_binary(), "python", "install", "--no-progress", "--", version])
    command = [uv_binary(), "python", "find", "--no-project", "--managed-python", "--", version]
    found = subprocess.run(command, capture_output=True, env=tool_environ(), text=True, check=False).stdout.strip()
    if not found:
        raise EnvError(f"uv says that it installed python {version}, and does not find it again")
    return found


def _candidates(version: str) -> Iterator[str]:
    yield host_interpreter()
    parts = version.split(".")
    for name in (f"python{'.'.join(parts[:2])}", "python3"):
        if found := shutil.which(name, path=tool_environ()["PATH"]):
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    by_version = sorted(pyenv.glob(f"{version}*"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    yield from (str(path / "bin" / "python") for path in reversed(by_version))


def python_version(python: str) -> str:
    """What a python says it is; empty where it does not run, as a shim for a version that is not there."""
    if python == host_interpreter():
        return ".".join(map(str, sys.version_info[:3]))
    try:
        done = subprocess.run(
            [python, "-I", "-c", ASK], capture_output=True, timeout=_PYTHON_DEADLINE, env=tool_environ(), check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def _matches(wanted: str, found: str) -> bool:
    return bool(found) and found.split(".")[: len(wanted.split("."))] == wanted.split(".")
