"""Conda environment files (`environment.yml`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from envs.requirement_files import absolute, flattened
from sandbox_actors.errors import EnvError
from sandbox_actors.files import user_path
from sandbox_actors.protocol.secrets import ADVICE, find_secrets


class EnvironmentFile(msgspec.Struct, frozen=True, kw_only=True):
    """What such a file asks for. `pip` are lines of a requirements file, `variables` are set in the env's processes."""

    channels: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    variables: dict[str, str] = {}


def read_environment_file(path: Path) -> EnvironmentFile:
    """Raises EnvError if the file cannot be read, holds a secret, or contains entries that are not supported."""
    try:
        with path.open(encoding="utf-8") as stream:
            content = yaml.safe_load(stream)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise EnvError(f"environment file {path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise EnvError(f"environment file {path}: a mapping with the key `dependencies` is expected")
    for keys in find_secrets(content):
        raise EnvError(f"environment file {path}: {'.'.join(map(str, keys))}: {ADVICE}")
    packages: list[str] = []
    pip: list[str] = []
    for entry in content.get("dependencies") or []:
        if isinstance(entry, str):
            packages.append(entry)
        elif isinstance(entry, Mapping) and set(entry) == {"pip"}:
            pip += _pip_lines(entry["pip"] or [], path.parent)
        else:
            raise EnvError(f"environment file {path}: {entry!r} is neither a package nor a `pip` list")
    return EnvironmentFile(
        channels=tuple(str(channel) for channel in content.get("channels") or []),
        packages=tuple(packages),
        pip=tuple(pip),
        variables={str(name): str(value) for name, value in (content.get("variables") or {}).items()},
    )


def _pip_lines(entries: list[Any], base: Path) -> list[str]:
    lines: list[str] = []
    for entry in map(str, entries):
        flag, _, file = entry.partition(" ")
        if flag in ("-r", "--requirement"):
            lines += flattened([base / file.strip()])
        else:
            lines.append(absolute(entry, lambda path: (base / user_path(path)).resolve()))
    return lines
