"""Conda environments, created by conda, mamba or micromamba, or without any of them by the py-rattler library."""

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
from sandbox_actors.files import make_folders, user_path

RATTLER = "py-rattler>=0.20,<1"
RATTLER_SCRIPT = Path(__file__).with_name("rattler_script.py")
FORGE = "conda-forge"
_INFO_DEADLINE = 60.0


class CondaEnv(Env):
    """An env of the manager `conda`, `mamba`, `micromamba` or `rattler`.

    conda, mamba and micromamba look up and create a name in their own folders of envs, so that the same env can be
    activated by its name. rattler, which needs only a network or a channel in a local folder, uses the folder of the
    sandbox's envs. `env_config_path` is a conda environment file. Without a python version in that file or as an
    argument, the env gets the host's. `packages` are conda packages; `install_py_deps` installs Python packages.
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
            return user_path(self.env_name).absolute()
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

    def missing_manager(self) -> str:
        if self.env_manager == "rattler" or self._program:
            return ""
        return f"{self.env_manager} is not on the PATH; the manager rattler creates conda environments without it"

    def make(self, control: Control) -> None:
        channels = self.conda_channels()
        packages = with_python(self.conda_packages(), self.env_py_version)
        if self.env_manager == "rattler":
            command = rattler_command(self.prefix, channels, packages)
        else:
            command = create_command(self._program, self.env_manager, self.prefix, channels, packages)
        make_folders(self.prefix.parent)
        self.call(command, control)
        if not self.folder.python.exists():
            raise EnvError(f"{self.env_manager} created {self.prefix} without python: add it to the packages")
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
        return ["--break-system-packages"]  # some conda pythons are marked as externally managed

    def environ(self, host: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {"CONDA_PREFIX": str(self.prefix), "CONDA_DEFAULT_ENV": self.env_name}
        return {**super().environ(host), **own, **env_variables(self.prefix)}

    @cached_property
    def _file(self) -> EnvironmentFile:
        return read_environment_file(self.env_config_path) if self.env_config_path else EnvironmentFile()

    @cached_property
    def _program(self) -> str:
        """Path of the manager; empty if it is not installed."""
        if found := shutil.which(self.env_manager):
            return found
        hint = os.environ.get("CONDA_EXE" if self.env_manager == "conda" else "MAMBA_EXE", "")
        return hint if Path(hint).name == self.env_manager and os.access(hint, os.X_OK) else ""


def create_command(
    program: str, manager: str, prefix: Path, channels: Sequence[str], packages: Sequence[str]
) -> list[str]:
    """The command that creates an env with conda, mamba or micromamba. `channels`, if given, replace the configured
    ones."""
    _refuse_options([*channels, *packages])
    command = [program, "create", "--yes", "--prefix", str(prefix)]
    if channels:
        command.append("--override-channels")
    elif manager == "micromamba":  # has no default channel
        channels = [FORGE]
    for channel in channels:
        command += ["--channel", channel]
    return [*command, *packages]


def rattler_command(prefix: Path, channels: Sequence[str], packages: Sequence[str]) -> list[str]:
    """The command that creates an env with py-rattler, which uv downloads on first use into an env of its own."""
    _refuse_options([*channels, *packages])
    request = {"prefix": str(prefix), "channels": [*channels] or [FORGE], "specs": [*packages]}
    runner = [uv_binary(), "run", "--no-project", "--isolated", "--no-progress", "--python", host_interpreter()]
    return [*runner, "--with", RATTLER, "python", "-I", str(RATTLER_SCRIPT), json.dumps(request)]


def with_python(packages: Sequence[str], version: str) -> list[str]:
    """The packages, with a python of that version; of the host's version if neither names one."""
    has_python = any(re.match(r"(?:[^\s:]+::)?python(?![\w.-])", package) for package in packages)
    if not version and has_python:
        return list(packages)
    return [f"python={version or '.'.join(map(str, sys.version_info[:2]))}", *packages]


def manager_info(program: str) -> dict[str, Any]:
    """The output of `info --json`. Raises EnvManagerMissing."""
    command = [program, "info", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, env=tool_environ(), timeout=_INFO_DEADLINE, check=True)
        info = msgspec.json.decode(done.stdout, type=dict[str, Any])
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        raise EnvManagerMissing(f"{program} does not work: {error}") from error
    return info


def env_folders(info: dict[str, Any]) -> tuple[Path, list[Path]]:
    """The base env, and the folders of the others. conda and mamba 1 have other keys than micromamba and mamba 2."""
    root = info.get("root_prefix") or info.get("base environment") or ""
    folders = info.get("envs_dirs") or info.get("envs directories") or []
    if not root or not folders:
        raise EnvError("the output of `info --json` does not say where the manager keeps its envs")
    return Path(re.sub(r" \([a-z ]+\)$", "", str(root))), [Path(folder) for folder in folders]


def env_variables(prefix: Path) -> dict[str, str]:
    """The variables that the user has set for the env with `conda env config vars`."""
    try:
        state = msgspec.json.decode((prefix / "conda-meta" / "state").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return {}
    return {str(name): str(value) for name, value in dict(state.get("env_vars") or {}).items()}


def _refuse_options(words: Sequence[str]) -> None:
    for word in words:
        if not word.strip() or word.startswith("-"):
            raise EnvError(f"{word!r} is not a conda package or channel")


def _can_write(path: Path) -> bool:
    while not path.exists() and path != path.parent:
        path = path.parent
    return os.access(path, os.W_OK)
