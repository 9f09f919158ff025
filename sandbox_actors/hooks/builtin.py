"""The twelve hooks that come with this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.factories import REFINERS
from sandbox_actors.errors import ComponentFailed
from sandbox_actors.experiment.model import Config
from sandbox_actors.hooks.base import Hook, JobResult
from sandbox_actors.hooks.call import Call
from sandbox_actors.protocol.worker_requests import Outcome


class ProbeViaAnalyzerHook(Hook):
    """Runs Data-Juicer's analyzer. Output: the analysed dataset. Metrics: the overall analysis as `<row>.<stat>`, and
    the paths `files.dataset` and `files.analysis`."""

    def result(self, outcome: Outcome) -> JobResult:
        result = _require_export_path(outcome, self)
        files = {"dataset": result["export_path"], "analysis": result.get("analysis_path")}
        known = {name: path for name, path in files.items() if isinstance(path, str)}
        return JobResult(values=[result["export_path"]], watched={**result["overall"], "files": known})


class ProbeViaModelInferHook(Hook):
    """Evaluates a model on a sample of the data, with two actors one after the other.

    Data-Juicer's executor draws the sample (`run("sample")` with `data_probe_ratio` and `data_probe_algo` of
    `dj_configs`) and writes it to `export_path`; then the component of `extra_configs` is called with
    `run(type, path of the sample)`. What it returns is the output; its values are metrics too, except texts, which
    are paths for example.
    """

    def call(self, dj_configs: Config, extra_configs: Config, analysis: dict[str, Any]) -> Call:
        (executor, _), (evaluator, _) = self.spec.factories
        self._call(evaluator, extra_configs, "extra_configs")  # raises before a sample is drawn
        return replace(self._call(executor, dj_configs, "dj_configs"), args=["sample"], is_preparation=True)

    def next_call(self, dj_configs: Config, extra_configs: Config, outcomes: Sequence[Outcome]) -> Call | None:
        if len(outcomes) > 1:
            return None
        sample = _require_export_path(outcomes[0], self)["export_path"]
        evaluation = self._call(self.spec.factories[1][0], extra_configs, "extra_configs")
        return replace(evaluation, args=[evaluation.config.get("type"), sample])

    def result(self, outcome: Outcome) -> JobResult:
        result = _watch_outputs(outcome)
        if not isinstance(result.watched, dict):
            return result
        numbers = {name: value for name, value in result.watched.items() if not isinstance(value, str)}
        return replace(result, watched=numbers)


class ProcessDataHook(Hook):
    """Runs Data-Juicer's executor. Output: the processed dataset. Metrics: the numbers of samples before and after."""

    def result(self, outcome: Outcome) -> JobResult:
        result = _require_export_path(outcome, self)
        counts = {name: value for name, value in result.items() if name.startswith("samples")}
        return JobResult(values=[result["export_path"]], watched=counts)


class Refinement(Hook):
    """Base of the hooks that refine the recipe in `dj_configs`, as `extra_configs` says. The analysis is that of an
    earlier job with the same meta_name.

    Output: the refined recipe's path. Metrics: `bounds.<operator>.<parameter>.<before, after, ...>`, with `#2` after
    an operator that occurs a second time.
    """

    @property
    def needs_analysis(self) -> bool:
        return True

    def call(self, dj_configs: Config, extra_configs: Config, analysis: dict[str, Any]) -> Call:
        config = {
            **self._require_mapping(extra_configs, "extra_configs"),
            "recipe": self._require_mapping(dj_configs, "dj_configs"),
        }
        if analysis:
            config.setdefault("analysis", analysis)  # unless the file names another
        entry = REFINERS[type(self).__name__]
        self._require_keys(entry, config, "extra_configs")
        return Call(entry=entry, config=config)

    def result(self, outcome: Outcome) -> JobResult:
        result = outcome.values[0]
        if not isinstance(result, dict):
            return JobResult(values=[result])
        return JobResult(values=[result["path"]], watched={"bounds": _group_changes(result["bounds"])})


class RefineRecipeViaKSigmaHook(Refinement):
    """Moves the bounds to where the data are: mean and standard deviation of each statistic."""


class RefineRecipeViaModelFeedbackHook(Refinement):
    """Moves the bounds to where the samples are that a model can learn from, by a measure of each sample."""


class GeneralProbeHook(Hook):
    """The result of the component is the output."""


class DataPoolManipulationHook(Hook):
    """The result of the component is the output."""


class GeneralDataExecutorHook(Hook):
    """The result of the component is the output."""


class TrainModelHook(Hook):
    """Calls a model executor's `run(type)`. The log watcher takes its metrics from its log."""

    def arguments(self, config: Mapping[str, Any]) -> list[Any]:
        return [config.get("type")]


class InferModelHook(TrainModelHook):
    """Calls a model executor's `run(type)`; the result is the output."""


class EvaluateDataHook(Hook):
    """Calls an evaluator's `run("data")`; the result is the output, and metrics."""

    def arguments(self, config: Mapping[str, Any]) -> list[Any]:
        return ["data"]

    def result(self, outcome: Outcome) -> JobResult:
        return _watch_outputs(outcome)


class EvaluateModelHook(EvaluateDataHook):
    """Calls an evaluator's `run("model")`; the result is the output, and metrics."""

    def arguments(self, config: Mapping[str, Any]) -> list[Any]:
        return ["model"]


BUILTIN_HOOKS: dict[str, Hook] = {
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


def _watch_outputs(outcome: Outcome) -> JobResult:
    """The outputs are also the metrics."""
    watched = outcome.values if outcome.is_tuple else outcome.values[0]
    return JobResult(values=outcome.values, is_tuple=outcome.is_tuple, watched=watched)


def _group_changes(changes: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The changes by operator and parameter, without values that are not known."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for change in changes:
        operator, parameter, number = change["operator"], change["parameter"], 1
        while parameter in found.get(name := operator if number == 1 else f"{operator}#{number}", {}):
            number += 1
        found.setdefault(name, {})[parameter] = {
            key: value
            for key, value in change.items()
            if key not in ("operator", "parameter") and value not in (None, "")
        }
    return found


def _require_export_path(outcome: Outcome, hook: Hook) -> dict[str, Any]:
    result = outcome.values[0] if len(outcome.values) == 1 else None
    if not isinstance(result, dict) or "export_path" not in result:
        raise ComponentFailed(
            f"the component of a {type(hook).__name__} must return a mapping with export_path, not {result!r}"
        )
    return result
