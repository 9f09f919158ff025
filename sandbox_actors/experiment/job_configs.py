"""The configs that a job starts with: what its file says, then `local`, then `input`, then the iteration's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from sandbox_actors.dotted import put
from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.hook_specs import HOOK_SPECS
from sandbox_actors.experiment.model import CONFIG_NAMES, Config, ConfigName, Job


class JobConfig:
    """Builds one of a job's two configs: `value` is what it is so far, to which the settings are applied at the end."""

    def __init__(self, name: ConfigName, job: Job) -> None:
        self._name = name
        hook = HOOK_SPECS.get(job.hook)
        self._is_rewritten_recipe = name == "dj_configs" and hook is not None and hook.rewrites_recipe
        self._settings: list[tuple[list[str], Any]] = []
        self.value: Config = getattr(job, name)

    @property
    def is_path(self) -> bool:
        """Whether it is in a file that has to be read first."""
        return isinstance(self.value, str) and not is_placeholder(self.value)

    def set(self, keys: list[str], value: Any) -> None:
        """A later setting overrides an earlier one. Without keys, `value` replaces the config that they apply to."""
        if keys:
            self._settings.append((keys, value))
        else:
            self.value = value or None

    def read(self, read: Callable[[str], dict[str, Any]]) -> None:
        if isinstance(self.value, str) and self.is_path:
            self.value = read(self.value)

    def build(self, iteration: int) -> dict[str, Any] | None:
        """What the job gets. Raises ContextError if the config is not a mapping, or a setting cannot be applied."""
        if is_placeholder(self.value):
            raise ContextError(f"{self._name} is still the placeholder {self.value}; no `input` replaced it")
        config = self.value
        if config is not None and not isinstance(config, dict):
            raise ContextError(f"{self._name} is {config!r:.80}; it must be a mapping or the path of a file with one")
        for keys, value in self._settings:
            try:
                config = put(config, keys, value)
            except ContextError as error:
                raise ContextError(f"{'.'.join([self._name, *keys])}: {error}") from None
        return config if self._is_rewritten_recipe or config is None else with_iteration_folder(config, iteration)


def split_key(key: str) -> tuple[ConfigName, list[str]]:
    """The config that a key of `local` or `input` starts with, and the keys in it. Raises ContextError for another."""
    config, *keys = key.split(".")
    if config not in CONFIG_NAMES:
        raise ContextError(f"{key}: must start with {' or '.join(CONFIG_NAMES)}")
    return config, keys


def split_updater_target(target: str) -> tuple[str, str, str]:
    """Pipeline, meta_name and key (for `split_key`) of a target of `iter_updater`; what it lacks is empty."""
    pipeline, _, rest = target.partition(".")
    meta_name, _, key = rest.partition(".")
    return pipeline, meta_name, key


def job_configs(job: Job, settings: Iterable[tuple[str, Any]]) -> dict[ConfigName, JobConfig]:
    """Both configs of a job by name, with `settings` in their order: dotted keys that start with the name, values."""
    configs = {name: JobConfig(name, job) for name in CONFIG_NAMES}
    for key, value in settings:
        name, keys = split_key(key)
        configs[name].set(keys, value)
    return configs


def is_placeholder(value: object) -> bool:
    """Whether a value only stands for one that replaces it before use: `<replaced_by_the_input>`."""
    return isinstance(value, str) and value.strip().startswith("<") and value.strip().endswith(">")


def with_iteration_folder(config: dict[str, Any], iteration: int) -> dict[str, Any]:
    """`config` with the folder `iter_<n>` in its `export_path`: before the last part of a file, after a folder."""
    paths = config.get("export_path")
    if not paths:
        return config
    if isinstance(paths, list):
        return {**config, "export_path": [_add_iteration_folder(path, iteration) for path in paths]}
    return {**config, "export_path": _add_iteration_folder(paths, iteration)}


def is_file_name(path: str) -> bool:
    """Whether a path that need not exist is meant as a file: its last part has a dot that is not its first letter."""
    last = os.path.basename(path.rstrip("/"))
    return "." in last and not last.startswith(".")


def _add_iteration_folder(path: Any, iteration: int) -> Any:
    if not isinstance(path, str):
        return path
    folder = f"iter_{iteration}"
    if is_file_name(path):
        return os.path.join(os.path.dirname(path), folder, os.path.basename(path))
    return os.path.join(path, folder)
