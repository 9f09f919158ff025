"""The configs a job starts with: what its file says, then `local`, then `input`, then the iteration's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from sandbox_actors.dotted import put
from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.hook_specs import HOOKS
from sandbox_actors.experiment.model import Job

CONFIGS = ("dj_configs", "extra_configs")

Setting = tuple[list[str], Any]
"""Keys in one config, none for the config as a whole, and the value put there."""


class JobConfig:
    """One of a job's two configs, on its way to what the job gets.

    `value` is a mapping, None, or the path of a file to be read when the job starts.
    """

    def __init__(self, name: str, job: Job) -> None:
        self._name = name
        hook = HOOKS.get(job.hook)
        self._is_copied_out = name == "dj_configs" and hook is not None and hook.rewrites_recipe
        self._settings: list[Setting] = []
        self.value: Any = getattr(job, name)

    @property
    def is_late(self) -> bool:
        return isinstance(self.value, str) and not is_placeholder(self.value)

    def add(self, keys: list[str], value: Any) -> None:
        """A later setting wins over an earlier one; the config as a whole is replaced before anything in it."""
        if keys:
            self._settings.append((keys, value))
        else:
            self.value = value or None

    def read(self, read: Callable[[str], Any]) -> None:
        """Replaces a path by what `read` finds there."""
        if self.is_late:
            self.value = read(self.value)

    def finished(self, iteration: int) -> dict[str, Any] | None:
        """What the job gets. Raises ContextError for a config that is no mapping, or that a setting does not fit."""
        if is_placeholder(self.value):
            raise ContextError(f"{self._name} is still the placeholder {self.value}; no `input` replaced it")
        config: dict[str, Any] | None = self.value
        if config is not None and not isinstance(config, dict):
            raise ContextError(f"{self._name} is {config!r:.80}; it has to be a mapping or the path of a file with one")
        for keys, value in self._settings:
            try:
                config = put(config, keys, value)
            except ContextError as error:
                raise ContextError(f"{'.'.join([self._name, *keys])}: {error}") from None
        return config if self._is_copied_out or config is None else with_iteration(config, iteration)


def split_key(key: str) -> tuple[str, list[str]]:
    """The config that a key of `local` or `input` starts with, and the keys in it. Raises ContextError for another."""
    config, *keys = key.split(".")
    if config not in CONFIGS:
        raise ContextError(f"{key}: has to start with {' or '.join(CONFIGS)}")
    return config, keys


def job_configs(job: Job, settings: Iterable[tuple[str, Any]]) -> dict[str, JobConfig]:
    """Both configs of a job by name, with `settings` added in their order: dotted keys that start with the name."""
    configs = {name: JobConfig(name, job) for name in CONFIGS}
    for key, value in settings:
        name, keys = split_key(key)
        configs[name].add(keys, value)
    return configs


def is_placeholder(value: object) -> bool:
    """Whether a value only marks the place of one that is put there before use: `<replaced_by_the_input>`."""
    return isinstance(value, str) and value.strip().startswith("<") and value.strip().endswith(">")


def with_iteration(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    """`config` with the folder `iter_<n>` in its `export_path`: before the last part of a file, after a folder."""
    paths = config.get("export_path")
    if not paths:
        return config
    if isinstance(paths, list):
        return {**config, "export_path": [_into_iteration(path, iteration) for path in paths]}
    return {**config, "export_path": _into_iteration(paths, iteration)}


def names_file(path: str) -> bool:
    """Whether a path that need not exist is meant as a file: its last part has a dot that is not its first letter."""
    last = os.path.basename(path.rstrip("/"))
    return "." in last and not last.startswith(".")


def _into_iteration(path: Any, iteration: int) -> Any:
    if not isinstance(path, str):
        return path
    folder = f"iter_{iteration}"
    if names_file(path):
        return os.path.join(os.path.dirname(path), folder, os.path.basename(path))
    return os.path.join(path, folder)
