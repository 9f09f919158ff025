"""What an experiment file may name: hooks, component types, Data-Juicer's operators, envs.

Most of it belongs to higher layers, which fill a `Catalogue` with it (`hooks/catalogue.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sandbox_actors.experiment.hook_specs import HOOK_SPECS, HookSpec
from sandbox_actors.system.machine import Machine


class KnownType(Protocol):
    """What checks need to know of a component type.

    required   dotted config keys that it needs
    reads      dotted config keys that name what it reads
    keys       all config keys that it knows; none: it accepts any
    secrets    dotted config keys under which people write secrets
    needs_gpu  its default env is useless without a GPU
    """

    @property
    def required(self) -> Collection[str]: ...
    @property
    def reads(self) -> Collection[str]: ...
    @property
    def keys(self) -> Collection[str]: ...
    @property
    def secrets(self) -> Collection[str]: ...
    @property
    def needs_gpu(self) -> bool: ...
    def misfits(self, config: Mapping[str, Any]) -> Collection[tuple[str, str]]:
        """Keys whose values are wrong, and why."""


class KnownFactory(Protocol):
    """`entries` by `type`; `default_type`: the type of a config that has none, if there is a default."""

    @property
    def entries(self) -> Mapping[str, KnownType]: ...
    @property
    def default_type(self) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What is known. What a mapping that is empty, or None, would have is not checked.

    factories  by name
    refiners   what the hooks without a factory run, by hook
    operators  the names of their parameters, by operator of Data-Juicer
    recipe     raises ConfigError for the settings of a recipe that are wrong
    hooks      the built-in ones, and the user's own
    envs       names of env specs
    managers   env managers by name, and why this machine cannot use them: "" for those it can
    machine    what jobs may ask for
    """

    factories: Mapping[str, KnownFactory] = field(default_factory=dict)
    refiners: Mapping[str, KnownType] = field(default_factory=dict)
    operators: Mapping[str, Collection[str]] = field(default_factory=dict)
    recipe: Callable[[Mapping[str, Any]], object] | None = None
    hooks: Mapping[str, HookSpec] = field(default_factory=lambda: HOOK_SPECS)
    envs: Collection[str] | None = None
    managers: Mapping[str, str] = field(default_factory=dict)
    machine: Machine | None = None
