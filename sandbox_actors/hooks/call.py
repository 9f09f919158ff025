"""What a hook asks of an actor."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from components.factories import PLAIN, Entry
from sandbox_actors.dotted import find_or_none


@dataclass(frozen=True, kw_only=True)
class Call:
    """What to ask of an actor: the component's registry entry, its config, and the arguments of its `run`.

    `is_help`: it prepares what the job is about, and so runs in an env of its own whatever env the job names.
    """

    entry: Entry
    config: dict[str, Any]
    args: list[Any] = field(default_factory=list)
    is_help: bool = False

    @property
    def label(self) -> str:
        """What the component's workers are called: `some-class` for `module:SomeClass`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", self.entry.target.partition(":")[2]).lower()

    @property
    def env(self) -> str:
        """The env it runs in unless its job names another: the one that its config asks for, as files of Data-Juicer
        Sandbox do, or that of its class."""
        asked = self.config.get("env_name")
        return asked if isinstance(asked, str) and asked else self.entry.env or PLAIN

    @property
    def env_spec(self) -> dict[str, Any]:
        """What the env is made of that the config asks for, where nobody else knows an env of that name.

        `env_manager`, and `env_params`: `env_config_path` and `env_py_version`, or any key of an env spec.
        """
        asked = {"manager": self.config.get("env_manager") or "conda", **(self.config.get("env_params") or {})}
        names = {"env_config_path": "config", "env_py_version": "python"}
        return {names.get(key, key): value for key, value in asked.items() if value is not None}

    def env_in(self, job_env: str | None) -> str:
        """The env it runs in for a job that names `job_env`, or none."""
        return self.env if self.is_help and self.entry.env else job_env or self.env

    @property
    def model_key(self) -> str:
        """Names what the component's `load()` makes: equal keys mean that it need not be made again.

        The values of the registry entry's `model_fields`; of a class of the user's own that does not say them, the
        whole config.
        """
        if not self.entry.is_own and not self.entry.model_fields:
            return ""
        fields = self.entry.model_fields or tuple(self.config)
        identity = {name: find_or_none(self.config, name) for name in fields}
        digest = hashlib.sha256(msgspec.json.encode(identity, order="deterministic")).hexdigest()[:8]
        names = [value.rstrip("/").rpartition("/")[2] for value in identity.values() if isinstance(value, str)]
        return f"{names[0]}#{digest}" if names and self.entry.model_fields else digest
