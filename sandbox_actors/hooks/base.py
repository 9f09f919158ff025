"""The hooks: what a job does. Each says which config its component gets, how it is called, and what becomes of the
result: which part is the job's output, and which values go to the watcher.

A hook decides and does nothing itself: the coordinator leases the actor, calls it, and records what the hook says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.factories import FACTORIES, Entry
from sandbox_actors.dotted import find_or_none
from sandbox_actors.errors import ConfigError, Problem
from sandbox_actors.experiment.hook_specs import HOOKS as SPECS
from sandbox_actors.experiment.hook_specs import HookSpec
from sandbox_actors.hooks.call import Call
from sandbox_actors.protocol.worker_requests import Outcome


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What becomes of a result: the job's outputs, and what the watcher is told under the job's `meta_name`."""

    values: list[Any]
    is_tuple: bool = False
    watched: Any = None

    def told(self, names: Sequence[str] | None) -> Any:
        """What the watcher is told by a job whose `output` is `names`: of several outputs each under its name, but
        for lists."""
        if not self.is_tuple or self.watched is None:
            return self.watched
        named = zip(names or [f"res_{place}" for place in range(len(self.watched))], self.watched, strict=False)
        return {name: value for name, value in named if not isinstance(value, list)}


class Hook:
    """Base of the hooks: a component made by the hook's factory from one of its configs; its result is the output."""

    @property
    def spec(self) -> HookSpec:
        return SPECS[type(self).__name__]

    @property
    def needs_analysis(self) -> bool:
        """Whether `call` wants the analysis that was watched under the job's meta_name."""
        return False

    def call(self, dj_configs: Any, extra_configs: Any, analysis: dict[str, Any]) -> Call:
        """The call for a job whose inputs are in its configs. Raises ConfigError where these fit no component."""
        factory, name = self.spec.factories[0]
        return self._made(factory, dj_configs if name == "dj_configs" else extra_configs, name)

    def then(self, dj_configs: Any, extra_configs: Any, outcomes: Sequence[Outcome]) -> Call | None:
        """The call that follows those which had `outcomes`, under the same job; None after the last, as here.

        Raises ConfigError and ComponentFailed.
        """
        return None

    def arguments(self, config: Mapping[str, Any]) -> list[Any]:
        return []

    def record(self, outcome: Outcome) -> Recorded:
        return Recorded(values=outcome.values, is_tuple=outcome.is_tuple)

    def _made(self, factory: str, config: Any, name: str) -> Call:
        """The call of the component that a factory makes of the config called `name`."""
        config = self._mapping(config, name)
        entry = FACTORIES[factory].resolve(config)
        self._require(entry, config, name)
        return Call(entry=entry, config=config, args=self.arguments(config))

    def _mapping(self, config: Any, name: str) -> dict[str, Any]:
        if not isinstance(config, dict):
            got = "nothing" if config is None else f"{config!r}"
            raise ConfigError([Problem(type(self).__name__, name, f"a mapping is needed here, not {got}")])
        return config

    def _require(self, entry: Entry, config: Mapping[str, Any], name: str) -> None:
        missing = [field for field in entry.required if find_or_none(config, field) is None]
        if missing:
            raise ConfigError([Problem(type(self).__name__, f"{name}.{field}", "missing") for field in missing])
