"""The base of the hooks: what a job does with a component.

A hook decides which config its component gets, how the component is called, and what the result means: which part of
it is the job's output, and which values are metrics. It does nothing itself: `jobs/` leases the actor, calls it, and
records the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.factories import FACTORIES, Entry
from sandbox_actors.dotted import find_or_none
from sandbox_actors.errors import ConfigError, Problem
from sandbox_actors.experiment.hook_specs import HOOK_SPECS, HookSpec
from sandbox_actors.experiment.model import Config, ConfigName
from sandbox_actors.hooks.call import Call
from sandbox_actors.protocol.worker_requests import Outcome


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a job returned: `values` are its outputs, `watched` is recorded as metrics under its `meta_name`."""

    values: list[Any]
    is_tuple: bool = False
    watched: Any = None

    def metrics(self, names: Sequence[str] | None) -> Any:
        """The metrics of a job whose `output` is `names`. Of several outputs, each is under its name, without lists."""
        if not self.is_tuple or self.watched is None:
            return self.watched
        named = zip(names or [f"res_{index}" for index in range(len(self.watched))], self.watched, strict=False)
        return {name: value for name, value in named if not isinstance(value, list)}


class Hook:
    """Calls the component that the hook's factory makes of one of the job's configs; its result is the output."""

    @property
    def spec(self) -> HookSpec:
        return HOOK_SPECS[type(self).__name__]

    @property
    def needs_analysis(self) -> bool:
        """Whether `call` needs the analysis that an earlier job recorded under the same meta_name."""
        return False

    def call(self, dj_configs: Config, extra_configs: Config, analysis: dict[str, Any]) -> Call:
        """The call for a job whose inputs are in its configs. Raises ConfigError if these fit no component."""
        factory, name = self.spec.factories[0]
        return self._call(factory, dj_configs if name == "dj_configs" else extra_configs, name)

    def next_call(self, dj_configs: Config, extra_configs: Config, outcomes: Sequence[Outcome]) -> Call | None:
        """The next call of the same job, after those that had `outcomes`; None if there are no more, as here.

        Raises ConfigError and ComponentFailed.
        """
        return None

    def arguments(self, config: Mapping[str, Any]) -> list[Any]:
        """Those of the component's `run`."""
        return []

    def result(self, outcome: Outcome) -> JobResult:
        """The result of a job whose last call had `outcome`. Raises ComponentFailed."""
        return JobResult(values=outcome.values, is_tuple=outcome.is_tuple)

    def _call(self, factory: str, config: Config, name: ConfigName) -> Call:
        """The call of the component that a factory makes of the config called `name`."""
        config = self._require_mapping(config, name)
        entry = FACTORIES[factory].resolve(config)
        self._require_keys(entry, config, name)
        return Call(entry=entry, config=config, args=self.arguments(config))

    def _require_mapping(self, config: Config, name: ConfigName) -> dict[str, Any]:
        if not isinstance(config, dict):
            got = "empty" if config is None else f"{config!r}"
            raise ConfigError([Problem(type(self).__name__, name, f"must be a mapping, not {got}")])
        return config

    def _require_keys(self, entry: Entry, config: Mapping[str, Any], name: ConfigName) -> None:
        missing = [field for field in entry.required if find_or_none(config, field) is None]
        if missing:
            raise ConfigError([Problem(type(self).__name__, f"{name}.{field}", "missing") for field in missing])
