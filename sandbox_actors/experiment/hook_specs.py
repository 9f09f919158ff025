"""The hooks as a table: which factory each asks, and which job lists it is made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
