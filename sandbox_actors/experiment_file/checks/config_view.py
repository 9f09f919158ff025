"""A job's config as far as it is known before anything runs: `local` in it, and what `input` will replace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox_actors.dotted import find, put
from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.job_configs import CONFIGS, is_placeholder
from sandbox_actors.experiment.model import Job
from sandbox_actors.experiment_file.reader import Path


class ConfigView:
    """`value` is None where there is no config, or it is not known: then `is_known` is False.

    `place` is where the job stands in the document.
    """

    def __init__(self, name: str, job: Job, place: Path) -> None:
        self.name = name
        self._place = place
        self._local: dict[tuple[str, ...], Any] = dict(_settings(job.local, name))
        self._inputs: list[tuple[str, ...]] = [keys for keys, _ in _settings(job.input, name)]
        self.is_replaced_whole = () in self._inputs
        written = self._local.get((), getattr(job, name))
        self.is_placeholder = is_placeholder(written) and not self.is_replaced_whole
        self.is_known = written is None or (isinstance(written, dict) and not self.is_replaced_whole)
        self.value: Any = self._with_local(written) if self.is_known else None

    def is_replaced(self, keys: Sequence[str]) -> bool:
        """Whether `input` brings what lies at `keys`, or something around it or in it."""
        wanted = tuple(keys)
        return any(wanted[: len(each)] == each[: len(wanted)] for each in self._inputs)

    def has(self, keys: Sequence[str]) -> bool:
        """Whether there is, or will be, a value at `keys`."""
        if self.is_replaced(keys):
            return True
        try:
            return find(self.value, keys) is not None
        except ContextError:
            return False

    def path(self, keys: Sequence[str | int] = ()) -> Path:
        """Where in the document that which lies at `keys` is written."""
        wanted = tuple(map(str, keys))
        for own in self._local:
            if wanted[: len(own)] == own:
                return (*self._place, "local", ".".join([self.name, *own]), *keys[len(own) :])
        return (*self._place, self.name, *keys)

    def _with_local(self, value: Any) -> Any:
        for keys, setting in self._local.items():
            try:
                value = put(value, keys, setting) if keys else value
            except ContextError:
                continue
        return value


def view_configs(job: Job, place: Path) -> dict[str, ConfigView]:
    return {name: ConfigView(name, job, place) for name in CONFIGS}


def _settings(settings: dict[str, Any], config: str) -> list[tuple[tuple[str, ...], Any]]:
    parts = [(key.split("."), value) for key, value in settings.items()]
    return [(tuple(keys[1:]), value) for keys, value in parts if keys[0] == config]
