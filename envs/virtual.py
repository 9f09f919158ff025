"""Virtual environments, created by uv, by the standard library's venv, or by virtualenv."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from envs.base import Env
from envs.env_folder import default_root
from envs.interpreters import find_python, uv_binary
from envs.processes import Control
from envs.requirement_files import flattened
from envs.specs import VIRTUAL_MANAGERS
from sandbox_actors.files import user_path


class VirtualEnv(Env):
    """An env of the manager `venv`, `virtualenv` or `uv`. Packages are installed by uv in all three.

    A plain name is looked up in the current folder; if it is not there, it belongs to the folder of the sandbox's envs.
    `env_config_path` is a requirements file, which is installed when the env is created.
    """

    kind, managers, default_manager = "virtual", VIRTUAL_MANAGERS, "venv"

    def find_prefix(self) -> Path:
        here = user_path(self.env_name).absolute()
        if os.sep in self.env_name or (here / "pyvenv.cfg").exists():
            return here
        return default_root() / self.env_name

    def missing_manager(self) -> str:
        if self.env_manager == "venv" and importlib.util.find_spec("venv") is None:
            return "this python has no venv module: install it (python3-venv on Debian), or use the manager uv"
        if self.env_manager == "virtualenv" and not _virtualenv():
            return "virtualenv is not installed: pip install virtualenv, or use the manager uv"
        return ""

    def make(self, control: Control) -> None:
        python = find_python(self.env_py_version, lambda command: self.call(command, control))
        target = str(self.prefix)
        commands = {
            "uv": lambda: [uv_binary(), "venv", "--no-project", "--no-progress", "--python", python, target],
            "venv": lambda: [python, "-I", "-m", "venv", "--without-pip", target],
            "virtualenv": lambda: [*_virtualenv(), "--no-seed", "--no-vcs-ignore", "--python", python, target],
        }
        self.call(commands[self.env_manager](), control)

    def configured(self) -> list[str]:
        return flattened([self.env_config_path]) if self.env_config_path else []

    def environ(self, host: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**super().environ(host), "VIRTUAL_ENV": str(self.prefix)}


def _virtualenv() -> list[str]:
    """The command that runs virtualenv; empty if it is not installed."""
    if importlib.util.find_spec("virtualenv"):
        return [sys.executable, "-m", "virtualenv"]
    found = shutil.which("virtualenv")
    return [found] if found else []
