"""One call of a component, as a hook wants it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from components.factories import PLAIN, Entry
from sandbox_actors.dotted import find_or_none

LONGEST_LABEL = 40
"""Characters. Files are named after a worker."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """The component's registry entry, its config, and the arguments of its `run`.

    `is_preparation`: it only prepares the data of the job, and therefore runs in its own env even if the job names one.
    """

    entry: Entry
    config: dict[str, Any]
    args: list[Any] = field(default_factory=list)
    is_preparation: bool = False

    @property
    def label(self) -> str:
        """The name of the component's workers: `some-class` for `module:SomeClass`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", self.entry.target.partition(":")[2]).lower()[:LONGEST_LABEL]

    @property
    def env(self) -> str:
        """The env it runs in unless its job names another: the one that its config names, as files of Data-Juicer
        Sandbox do, or that of its class."""
        name = self.config.get("env_name")
        return name if isinstance(name, str) and name else self.entry.env or PLAIN

    @property
    def env_spec(self) -> dict[str, Any]:
        """The spec of the env that the config names, used if there is no other spec of that name.

        It is in `env_manager` and `env_params`: `env_config_path` and `env_py_version`, or any key of an env spec.
        """
        spec = {"manager": self.config.get("env_manager") or "conda", **(self.config.get("env_params") or {})}
        names = {"env_config_path": "config", "env_py_version": "python"}
        return {names.get(key, key): value for key, value in spec.items() if value is not None}

    def env_in(self, job_env: str | None) -> str:
        """The env it runs in for a job that names `job_env`, or None."""
        return self.env if self.is_preparation and self.entry.env else job_env or self.env

    @property
    def model_key(self) -> str:
        """Identifies what the component's `load()` loads: if the key is the same, it need not be loaded again.

        Made of the values of the registry entry's `model_fields`; for a class of the user's own that does not declare
        them, of the whole config.
        """
        if not self.entry.is_own and not self.entry.model_fields:
            return ""
        fields = self.entry.model_fields or tuple(self.config)
        identity = {name: find_or_none(self.config, name) for name in fields}
        digest = hashlib.sha256(msgspec.msgpack.encode(identity, order="deterministic")).hexdigest()[:8]
        names = [value.rstrip("/").rpartition("/")[2] for value in identity.values() if isinstance(value, str)]
        # The name is for people, in `sandbox ps`; the digest alone would identify the model.
        return f"{names[0][:LONGEST_LABEL]}#{digest}" if names and self.entry.model_fields else digest
