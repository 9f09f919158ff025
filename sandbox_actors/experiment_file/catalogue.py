"""What an experiment file may name: hooks, component types, Data-Juicer's operators.

The hooks are a table here. What lies in higher layers comes in as a `Catalogue`, filled by whoever checks a file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sandbox_actors.experiment.hook_specs import HOOKS, HookSpec
from sandbox_actors.system.machine import Machine


class KnownType(Protocol):
    """What checks want to know of a component type: dotted config keys it cannot do without, those that name what it
    reads, all it knows, where it takes no others, and those that people write secrets under."""

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
        """Keys whose values cannot be meant, and why."""


class KnownFactory(Protocol):
    """`entries` by `type`; `default_type` is meant where a config has no `type`, if any is."""

    @property
    def entries(self) -> Mapping[str, KnownType]: ...
    @property
    def default_type(self) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What is known. An empty mapping means that this kind of thing is not checked, `envs=None` likewise.

    factories  by name
    refiners   what the hooks without a factory run, by hook
    operators  names of parameters by operator of Data-Juicer
    recipe     raises ConfigError for settings of a recipe that cannot be had
    hooks      those above, and the user's own
    envs       names of env specs
    managers   env managers by name, and why this machine cannot use them: empty for those it can
    machine    what jobs may ask for
    """

    factories: Mapping[str, KnownFactory] = field(default_factory=dict)
    refiners: Mapping[str, KnownType] = field(default_factory=dict)
    operators: Mapping[str, Collection[str]] = field(default_factory=dict)
    recipe: Callable[[Mapping[str, Any]], object] | None = None
    hooks: Mapping[str, HookSpec] = field(default_factory=lambda: HOOKS)
    envs: Collection[str] | None = None
    managers: Mapping[str, str] = field(default_factory=dict)
    machine: Machine | None = None
