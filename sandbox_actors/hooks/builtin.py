"""The twelve hooks that come with this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.factories import REFINERS
from sandbox_actors.errors import ComponentFailed
from sandbox_actors.hooks.base import Hook, Recorded
from sandbox_actors.hooks.call import Call
from sandbox_actors.protocol.worker_requests import Outcome


class ProbeViaAnalyzerHook(Hook):
    """Data-Juicer's analyzer; output: the analysed dataset, watched: the overall analysis, `<row>.<stat>`, and where
    it is, `files.dataset` and `files.analysis`."""

    def record(self, outcome: Outcome) -> Recorded:
        result = _mapping_result(outcome, self)
        files = {"dataset": result["export_path"], "analysis": result.get("analysis_path")}
        known = {name: path for name, path in files.items() if isinstance(path, str)}
        return Recorded(values=[result["export_path"]], watched={**result["overall"], "files": known})


class ProbeViaModelInferHook(Hook):
    """How a model does on a sample of the data: two actors, one after the other.

    Data-Juicer's executor draws the sample (`run("sample")` with `data_probe_ratio` and `data_probe_algo` of
    `dj_configs`) and writes it to `export_path`; then the component that `extra_configs` asks for is called with
    `run(type, path of the sample)`. What it returns is the output, and watched but for texts in it, as paths are.
    """

    def call(self, dj_configs: Any, extra_configs: Any, analysis: dict[str, Any]) -> Call:
        (executor, _), (evaluator, _) = self.spec.factories
        self._made(evaluator, extra_configs, "extra_configs")  # complains before any sample is drawn
        return replace(self._made(executor, dj_configs, "dj_configs"), args=["sample"], is_help=True)

    def then(self, dj_configs: Any, extra_configs: Any, outcomes: Sequence[Outcome]) -> Call | None:
        if len(outcomes) > 1:
            return None
        sample = _mapping_result(outcomes[0], self)["export_path"]
        evaluation = self._made(self.spec.factories[1][0], extra_configs, "extra_configs")
        return replace(evaluation, args=[evaluation.config.get("type"), sample])

    def record(self, outcome: Outcome) -> Recorded:
        recorded = _evaluated(outcome)
        if not isinstance(recorded.watched, dict):
            return recorded
        numbers = {name: value for name, value in recorded.watched.items() if not isinstance(value, str)}
        return replace(recorded, watched=numbers)


class ProcessDataHook(Hook):
    """Data-Juicer's executor; output: the processed dataset, watched: how many samples came in and were kept."""

    def record(self, outcome: Outcome) -> Recorded:
        result = _mapping_result(outcome, self)
        counts = {name: value for name, value in result.items() if name.startswith("samples")}
        return Recorded(values=[result["export_path"]], watched=counts)


class Refinement(Hook):
    """Base of the hooks that refine the recipe in `dj_configs`; `extra_configs` says how, and the analysis comes from
    an earlier job that has the same meta_name.

    Output: the refined recipe's path; watched: `bounds.<operator>.<parameter>.<before, after, ...>`, with `#2` behind
    an operator that comes a second time.
    """

    @property
    def needs_analysis(self) -> bool:
        return True

    def call(self, dj_configs: Any, extra_configs: Any, analysis: dict[str, Any]) -> Call:
        config = {**self._mapping(extra_configs, "extra_configs"), "recipe": self._mapping(dj_configs, "dj_configs")}
        if analysis:
            config.setdefault("analysis", analysis)
        entry = REFINERS[type(self).__name__]
        self._require(entry, config, "extra_configs")
        return Call(entry=entry, config=config)

    def record(self, outcome: Outcome) -> Recorded:
        result = outcome.values[0]
        if not isinstance(result, dict):
            return Recorded(values=[result])
        return Recorded(values=[result["path"]], watched={"bounds": _by_bound(result["bounds"])})


class RefineRecipeViaKSigmaHook(Refinement):
    """New bounds where the data are: mean and standard deviation of each statistic."""


class RefineRecipeViaModelFeedbackHook(Refinement):
    """New bounds where the samples are that a model can learn from: by a measure of each sample."""


class GeneralProbeHook(Hook):
    """The result of the component is the output."""


class DataPoolManipulationHook(Hook):
    """The result of the component is the output."""


class GeneralDataExecutorHook(Hook):
    """The result of the component is the output."""


class TrainModelHook(Hook):
    """A model executor's `run(type)`; its metrics come from its log, through the log watcher."""

    def arguments(self, config: Mapping[str, Any]) -> list[Any]:
        return [config.get("type")]


class InferModelHook(TrainModelHook):
    """A model executor's `run(type)`, whose result is the output."""


class EvaluateDataHook(Hook):
    """An evaluator's `run("data")`; its result is the output, and watched."""

    def arguments(self, config: Mapping[str, Any]) -> list[Any]:
        return ["data"]

    def record(self, outcome: Outcome) -> Recorded:
        return _evaluated(outcome)


class EvaluateModelHook(EvaluateDataHook):
    """An evaluator's `run("model")`; its result is the output, and watched."""

    def arguments(self, config: Mapping[str, Any]) -> list[Any]:
        return ["model"]


HOOKS: dict[str, Hook] = {
    hook.__name__: hook()
    for hook in (
        ProbeViaAnalyzerHook,
        ProbeViaModelInferHook,
        GeneralProbeHook,
        RefineRecipeViaKSigmaHook,
        RefineRecipeViaModelFeedbackHook,
        ProcessDataHook,
        DataPoolManipulationHook,
        GeneralDataExecutorHook,
        TrainModelHook,
        InferModelHook,
        EvaluateDataHook,
        EvaluateModelHook,
    )
}


def _evaluated(outcome: Outcome) -> Recorded:
    """The results are the outputs, and watched."""
    watched = outcome.values if outcome.is_tuple else outcome.values[0]
    return Recorded(values=outcome.values, is_tuple=outcome.is_tuple, watched=watched)


def _by_bound(changes: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """What became of each bound, by operator and parameter, without what is not known."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for change in changes:
        operator, parameter, number = change["operator"], change["parameter"], 1
        while parameter in found.get(name := operator if number == 1 else f"{operator}#{number}", {}):
            number += 1
        told = {key: value for key, value in change.items() if value not in (None, "")}
        found.setdefault(name, {})[parameter] = {key: told[key] for key in told if key not in ("operator", "parameter")}
    return found


def _mapping_result(outcome: Outcome, hook: Hook) -> dict[str, Any]:
    result = outcome.values[0] if len(outcome.values) == 1 else None
    if not isinstance(result, dict) or "export_path" not in result:
        raise ComponentFailed(
            f"{type(hook).__name__} expects a mapping with export_path of its component, got {result!r}"
        )
    return result
