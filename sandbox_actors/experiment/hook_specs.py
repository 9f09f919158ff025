"""The built-in hooks as a table: which factories each uses, and which job lists it is made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox_actors.experiment.model import CONFIG_NAMES, JOB_LISTS, ConfigName, JobList


@dataclass(frozen=True, kw_only=True)
class HookSpec:
    """One kind of job.

    factories          each factory that it asks for an actor, and the config whose `type` that factory reads, in order
    lists              the job lists it is made for; in another list it works, and a warning says so
    always_has_output  so that `-1` in the next job certainly means this job
    rewrites_recipe    its `dj_configs` is copied into a new recipe, and therefore does not get the folder of the
                       iteration: the job that runs the new recipe adds it
    """

    name: str
    factories: tuple[tuple[str, ConfigName], ...] = ()
    lists: tuple[JobList, ...]
    always_has_output: bool = False
    rewrites_recipe: bool = False


_PROBE, _REFINE, _EXECUTION, _EVALUATION = JOB_LISTS
_DJ, _EXTRA = CONFIG_NAMES

_SPECS = (
    HookSpec(
        name="ProbeViaAnalyzerHook",
        factories=(("DataAnalyzerFactory", _DJ),),
        lists=(_PROBE, _EVALUATION),
        always_has_output=True,
    ),
    HookSpec(
        name="ProbeViaModelInferHook",
        factories=(("DataExecutorFactory", _DJ), ("ModelInferEvaluatorFactory", _EXTRA)),
        lists=(_PROBE, _EVALUATION),
    ),
    HookSpec(name="GeneralProbeHook", factories=(("GeneralProbeFactory", _EXTRA),), lists=(_PROBE,)),
    HookSpec(name="RefineRecipeViaKSigmaHook", lists=(_REFINE,), always_has_output=True, rewrites_recipe=True),
    HookSpec(name="RefineRecipeViaModelFeedbackHook", lists=(_REFINE,), always_has_output=True, rewrites_recipe=True),
    HookSpec(
        name="ProcessDataHook",
        factories=(("DataExecutorFactory", _DJ),),
        lists=(_EXECUTION,),
        always_has_output=True,
    ),
    HookSpec(name="DataPoolManipulationHook", factories=(("DataPoolManipulatorFactory", _EXTRA),), lists=(_EXECUTION,)),
    HookSpec(name="GeneralDataExecutorHook", factories=(("GeneralDataExecutorFactory", _EXTRA),), lists=(_EXECUTION,)),
    HookSpec(name="TrainModelHook", factories=(("ModelTrainExecutorFactory", _EXTRA),), lists=(_EXECUTION,)),
    HookSpec(name="InferModelHook", factories=(("ModelInferExecutorFactory", _EXTRA),), lists=(_EXECUTION,)),
    HookSpec(name="EvaluateDataHook", factories=(("DataEvaluatorFactory", _EXTRA),), lists=(_EVALUATION,)),
    HookSpec(name="EvaluateModelHook", factories=(("ModelEvaluatorFactory", _EXTRA),), lists=(_EVALUATION,)),
)

HOOK_SPECS: Mapping[str, HookSpec] = {spec.name: spec for spec in _SPECS}
