"""What an experiment file may name: hooks, component types, Data-Juicer's operators.

The hooks are a table here. What lies in higher layers comes in as a `Catalogue`, filled by whoever checks a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sandbox_actors.machine import Machine

PROBE, REFINE, EXECUTION, EVALUATION = JOB_LISTS = (
    "probe_jobs",
    "refine_recipe_jobs",
    "execution_jobs",
    "evaluation_jobs",
)
"""The four job lists, in the order in which they are walked. In a file, `probe_job_configs` for `probe_jobs`, ..."""


@dataclass(frozen=True, kw_only=True)
class HookSpec:
    """One kind of job.

    factories        the factory asked for an actor, and the config whose `type` it reads, in order of use
    lists            the job lists it is made for; in others it works, and a warning says so
    always_gives     it has an output whatever happens, so that `-1` in the next job means it
    rewrites_recipe  its `dj_configs` is written out as a new recipe, and so does not get the folder of the iteration:
                     the job that runs the new recipe does
    """

    name: str
    factories: tuple[tuple[str, str], ...]
    lists: tuple[str, ...]
    always_gives: bool = False
    rewrites_recipe: bool = False


_DJ, _EXTRA = "dj_configs", "extra_configs"

HOOKS: Mapping[str, HookSpec] = {
    hook.name: hook
    for hook in (
        HookSpec(
            name="ProbeViaAnalyzerHook",
            factories=(("DataAnalyzerFactory", _DJ),),
            lists=(PROBE, EVALUATION),
            always_gives=True,
        ),
        HookSpec(
            name="ProbeViaModelInferHook",
            factories=(("DataExecutorFactory", _DJ), ("ModelInferEvaluatorFactory", _EXTRA)),
            lists=(PROBE, EVALUATION),
        ),
        HookSpec(name="GeneralProbeHook", factories=(("GeneralProbeFactory", _EXTRA),), lists=(PROBE,)),
        HookSpec(
            name="RefineRecipeViaKSigmaHook",
            factories=(),
            lists=(REFINE,),
            always_gives=True,
            rewrites_recipe=True,
        ),
        HookSpec(
            name="RefineRecipeViaModelFeedbackHook",
            factories=(),
            lists=(REFINE,),
            always_gives=True,
            rewrites_recipe=True,
        ),
        HookSpec(
            name="ProcessDataHook",
            factories=(("DataExecutorFactory", _DJ),),
            lists=(EXECUTION,),
            always_gives=True,
        ),
        HookSpec(
            name="DataPoolManipulationHook", factories=(("DataPoolManipulatorFactory", _EXTRA),), lists=(EXECUTION,)
        ),
        HookSpec(
            name="GeneralDataExecutorHook", factories=(("GeneralDataExecutorFactory", _EXTRA),), lists=(EXECUTION,)
        ),
        HookSpec(name="TrainModelHook", factories=(("ModelTrainExecutorFactory", _EXTRA),), lists=(EXECUTION,)),
        HookSpec(name="InferModelHook", factories=(("ModelInferExecutorFactory", _EXTRA),), lists=(EXECUTION,)),
        HookSpec(name="EvaluateDataHook", factories=(("DataEvaluatorFactory", _EXTRA),), lists=(EVALUATION,)),
        HookSpec(name="EvaluateModelHook", factories=(("ModelEvaluatorFactory", _EXTRA),), lists=(EVALUATION,)),
    )
}


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that says `name` is not known: the nearest name that is, or all there are if few."""
    names = sorted(set(known))
    folded = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    if near:
        return f"; did you mean {folded[near[0]]!r}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 12 else ""
