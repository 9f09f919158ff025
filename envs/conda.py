"""Conda environments, made by conda, mamba or micromamba; or without any of them, by the py-rattler library."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from envs.base import Env, Output
from envs.conda_yaml import EnvironmentFile, read_environment_file
from envs.env_folder import default_root
from envs.interpreters import host_interpreter, uv_binary
from envs.processes import Control
from envs.specs import CONDA_MANAGERS
from envs.variables import tool_environ
from sandbox_actors.errors import EnvError, EnvManagerMissing

RATTLER = "py-rattler>=0.20,<1"
RATTLER_SCRIPT = Path(__file__).with_name("rattler_script.py")
FORGE = "conda-forge"
_INFO_DEADLINE = 60.0


class CondaEnv(Env):
    """An env of the manager `conda`, `mamba`, `micromamba` or `rattler`.

    conda, mamba and micromamba find and make a name in their own folders of envs, so that what they activate and what
    is used here is the same; rattler, which needs nothing but a network or a channel in a local folder, among the
    user's sandbox envs. `env_config_path` is conda's environment file. Without a python version, in it or as an
    argument, the env gets the host's. conda's own packages go into `packages`; `install_py_deps` installs Python's.
    """

    kind, managers, default_manager = "conda", CONDA_MANAGERS, "conda"

    def __init__(
        self,
        env_name: str,
        env_manager: str = "",
        env_config_path: str | Path | None = None,
        env_py_version: str | float | None = None,
        *,
        packages: Sequence[str] = (),
        channels: Sequence[str] = (),
        prefix: Path | None = None,
        output: Output | None = None,
    ) -> None:
        super().__init__(env_name, env_manager, env_config_path, env_py_version, prefix=prefix, output=output)
        self.packages, self.channels = tuple(packages), tuple(channels)

    def find_prefix(self) -> Path:
        if os.sep in self.env_name:
            return Path(self.env_name).expanduser().absolute()
        if self.env_manager == "rattler":
            return default_root() / self.env_name
        self.require_manager()
        root, folders = env_folders(manager_info(self._program))
        if self.env_name == "base":
            return root
        prefixes = [folder / self.env_name for folder in folders]
        existing = [prefix for prefix in prefixes if (prefix / "conda-meta").is_dir()]
        writable = [prefix for prefix in prefixes if _can_write(prefix)]
        return [*existing, *writable, *prefixes][0]

    def lacking(self) -> str:
        if self.env_manager == "rattler" or self._program:
            return ""
        return f"{self.env_manager} is not on the PATH; the manager rattler makes conda environments without it"

    def make(self, control: Control) -> None:
        channels = self.conda_channels()
        packages = with_python(self.conda_packages(), self.env_py_version)
        if self.env_manager == "rattler":
            command = rattler_command(self.prefix, channels, packages)
        else:
            command = create_command(self._program, self.env_manager, self.prefix, channels, packages)
        self.prefix.parent.mkdir(parents=True, exist_ok=True)
        self.call(command, control)
        if not self.folder.python.exists():
            raise EnvError(f"{self.env_manager} made {self.prefix}, and there is no python in it")
        if self._file.variables:
            state = self.prefix / "conda-meta" / "state"
            state.write_text(json.dumps({"env_vars": self._file.variables}), encoding="utf-8")

    def configured(self) -> list[str]:
        return list(self._file.pip)

    def conda_packages(self) -> list[str]:
        return [*self._file.packages, *self.packages]

    def conda_channels(self) -> list[str]:
        return [*self.channels, *self._file.channels]

    def installer_options(self) -> list[str]:
        return ["--break-system-packages"]  # conda marks some of its pythons as managed by it; in this env we are

    def environ(self, host: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {"CONDA_PREFIX": str(self.prefix), "CONDA_DEFAULT_ENV": self.env_name}
        return {**super().environ(host), **own, **env_variables(self.prefix)}

    @cached_property
    def _file(self) -> EnvironmentFile:
        return read_environment_file(self.env_config_path) if self.env_config_path else EnvironmentFile()

    @cached_property
    def _program(self) -> str:
        """Path of the manager; empty where there is none."""
        if found := shutil.which(self.env_manager):
            return found
        hint = os.environ.get("CONDA_EXE" if self.env_manager == "conda" else "MAMBA_EXE", "")
        return hint if Path(hint).name == self.env_manager and os.access(hint, os.X_OK) else ""


def create_command(
    program: str, manager: str, prefix: Path, channels: Sequence[str], packages: Sequence[str]
) -> list[str]:
    """The arguments with which conda, mamba and micromamba make an env. Channels, where given, replace those set up."""
    _refuse_options([*channels, *packages])
    command = [program, "create", "--yes", "--prefix", str(prefix)]
    if channels:
        command.append("--override-channels")
    elif manager == "micromamba":  # has no channel by itself
        channels = [FORGE]
    for channel in channels:
        command += ["--channel", channel]
    return [*command, *packages]


def rattler_command(prefix: Path, channels: Sequence[str], packages: Sequence[str]) -> list[str]:
    """The command that makes an env with py-rattler, which uv fetches on first use and keeps apart."""
    _refuse_options([*channels, *packages])
    request = {"prefix": str(prefix), "channels": [*channels] or [FORGE], "specs": [*packages]}
    runner = [uv_binary(), "run", "--no-project", "--isolated", "--no-progress", "--python", host_interpreter()]
    return [*runner, "--with", RATTLER, "python", "-I", str(RATTLER_SCRIPT), json.dumps(request)]


def with_python(packages: Sequence[str], version: str) -> list[str]:
    """The packages, and a python of that version; the host's where neither says which."""
    has_python = any(re.match(r"(?:[^\s:]+::)?python(?![\w.-])", package) for package in packages)
    if not version and has_python:
        return list(packages)
    return [f"python={version or '.'.join(map(str, sys.version_info[:2]))}", *packages]


def manager_info(program: str) -> dict[str, Any]:
    """What the manager tells of itself. EnvError."""
    command = [program, "info", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, env=tool_environ(), timeout=_INFO_DEADLINE, check=True)
        info = msgspec.json.decode(done.stdout, type=dict[str, Any])
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        raise EnvManagerMissing(f"{program} does not work: {error}") from error
    return info


def env_folders(info: dict[str, Any]) -> tuple[Path, list[Path]]:
    """The base env, and the folders of the others: conda and mamba 1 use other words than micromamba and mamba 2."""
    root = info.get("root_prefix") or info.get("base environment") or ""
    folders = info.get("envs_dirs") or info.get("envs directories") or []
    if not root or not folders:
        raise EnvError("the conda-like manager does not say where its envs are: its `info --json` has no folders")
    return Path(re.sub(r" \([a-z ]+\)$", "", str(root))), [Path(folder) for folder in folders]


def env_variables(prefix: Path) -> dict[str, str]:
    """The variables that conda's user has set for the env."""
    try:
        state = msgspec.json.decode((prefix / "conda-meta" / "state").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return {}
    return {str(name): str(value) for name, value in dict(state.get("env_vars") or {}).items()}


def _refuse_options(words: Sequence[str]) -> None:
    for word in words:
        if not word.strip() or word.startswith("-"):
            raise EnvError(f"{word!r} is no conda package or channel")


def _can_write(path: Path) -> bool:
    while not path.exists() and path != path.parent:
        path = path.parent
    return os.access(path, os.W_OK)
