"""Python interpreters from which envs are created."""

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
    """A version as text; empty for none. The number 3.1 means 3.10, which YAML and Python read as 3.1."""
    return "3.10" if version == 3.1 else str(version or "")


def host_interpreter() -> str:
    """The python of this process; in a venv, the one from which the venv was created."""
    return getattr(sys, "_base_executable", "") or sys.executable


def find_python(version: str, call: Callable[[list[str]], object]) -> str:
    """A python of that version (`3.11`, `3.11.7`, or a path), installed by uv if this machine has none.

    `call` runs the command that installs it. Raises EnvError.
    """
    if not version:
        return host_interpreter()
    if os.sep in version:
        if not python_version(version):
            raise EnvError(f"{version} is not a python that runs")
        return version
    if not VERSION.fullmatch(version):
        raise EnvError(f"{version!r} is not a python version: give one such as 3.11, or the path of a python")
    for candidate in _candidates(version):
        if _matches(version, python_version(candidate)):
            return candidate
    call([uv_binary(), "python", "install", "--no-progress", "--", version])
    command = [uv_binary(), "python", "find", "--no-project", "--managed-python", "--", version]
    found = subprocess.run(command, capture_output=True, env=tool_environ(), text=True, check=False).stdout.strip()
    if not found:
        raise EnvError(f"uv reported that it installed python {version}, and does not find it")
    return found


def _candidates(version: str) -> Iterator[str]:
    yield host_interpreter()
    parts = version.split(".")
    for name in (f"python{'.'.join(parts[:2])}", "python3"):
        if found := shutil.which(name, path=tool_environ()["PATH"]):
            yield found
    pyenv = Path(os.path.expanduser(os.environ.get("PYENV_ROOT") or "~/.pyenv")) / "versions"
    by_version = sorted(pyenv.glob(f"{version}*"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    yield from (str(path / "bin" / "python") for path in reversed(by_version))


def python_version(python: str) -> str:
    """The version of a python; empty if it does not run, such as a shim for a version that is not installed."""
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
