"""A job's config as far as it is known before anything runs: with `local` applied, and what `input` will replace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from sandbox_actors.dotted import find_or_none, put
from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.job_configs import is_placeholder
from sandbox_actors.experiment.model import CONFIG_NAMES, ConfigName, Job
from sandbox_actors.experiment_file.key_path import KeyPath


class ConfigView:
    """`value` is None if there is no config, and also if it is not known: then `is_known` is False.

    `placeholder`: the text of a config that is only a placeholder, which nothing replaces. `job_path` is where the job
    is in the document. A setting that cannot be applied is left out: the checks of
    references report it.
    """

    def __init__(self, name: ConfigName, job: Job, job_path: KeyPath) -> None:
        self.name = name
        self._job_path = job_path
        self._local = dict(_settings_of(job.local, name))
        self._inputs = [keys for keys, _ in _settings_of(job.input, name)]
        is_replaced = () in self._inputs
        value = self._local.get((), getattr(job, name))
        self.placeholder: str | None = value if is_placeholder(value) and not is_replaced else None
        self.is_known = value is None or (isinstance(value, dict) and not is_replaced)
        self.value: dict[str, Any] | None = None
        if self.is_known:
            for keys, setting in self._local.items():
                with suppress(ContextError):
                    value = put(value, keys, setting) if keys else value
            self.value = value

    def is_replaced(self, keys: Sequence[str]) -> bool:
        """Whether `input` sets what is at `keys`, or something around it or in it."""
        wanted = tuple(keys)
        return any(wanted[: len(each)] == each[: len(wanted)] for each in self._inputs)

    def has(self, keys: Sequence[str]) -> bool:
        """Whether there is, or will be, a value at `keys`."""
        return self.is_replaced(keys) or find_or_none(self.value, keys) is not None

    def path(self, keys: Sequence[str | int] = ()) -> KeyPath:
        """Where in the document the value at `keys` is written."""
        wanted = tuple(map(str, keys))
        for own in self._local:
            if wanted[: len(own)] == own:
                return (*self._job_path, "local", ".".join([self.name, *own]), *keys[len(own) :])
        return (*self._job_path, self.name, *keys)


def view_configs(job: Job, job_path: KeyPath) -> dict[ConfigName, ConfigView]:
    return {name: ConfigView(name, job, job_path) for name in CONFIG_NAMES}


def _settings_of(settings: dict[str, Any], config: ConfigName) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The settings of one config, without its name. Keys that start with neither are left out: another check."""
    for key, value in settings.items():
        name, *keys = key.split(".")
        if name == config:
            yield tuple(keys), value
