"""The hooks: what a job does. Each says which config its component gets, how it is called, and what becomes of the
result: which part is the job's output, and which values go to the watcher.

A hook decides and does nothing itself: the coordinator leases the actor, calls it, and records what the hook says.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from components.declared import declared
from components.factories import FACTORIES, PLAIN, REFINERS, Entry, described, is_target
from components.registered import HOOKS as REGISTERED_HOOKS
from components.registered import Registry
from components.settings import JOB_KEYS
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem
from sandbox_actors.language.catalogue import HOOKS as SPECS
from sandbox_actors.language.catalogue import JOB_LISTS, HookSpec, did_you_mean
from sandbox_actors.language.experiment import Job
from sandbox_actors.messages import Outcome


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
        identity = {name: _at(self.config, name) for name in fields}
        digest = hashlib.sha256(msgspec.json.encode(identity, order="deterministic")).hexdigest()[:8]
        names = [value.rstrip("/").rpartition("/")[2] for value in identity.values() if isinstance(value, str)]
        return f"{names[0]}#{digest}" if names and self.entry.model_fields else digest


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
        missing = [field for field in entry.required if _at(config, field) is None]
        if missing:
            raise ConfigError([Problem(type(self).__name__, f"{name}.{field}", "missing") for field in missing])


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


class OwnHook(Hook):
    """A hook of the user's own: a class that runs in a worker as components do, and gets both configs of its job."""

    def __init__(self, target: str, package: str = "") -> None:
        self.entry = described(Entry(target=target, package=package, is_own=True))

    @property
    def spec(self) -> HookSpec:
        folders = [str(Path(self.entry.package).parent)] if self.entry.package else []
        lists = declared(self.entry.target, folders).get("lists", JOB_LISTS)
        return HookSpec(name=self.entry.target, factories=(), lists=lists)

    def call(self, dj_configs: Any, extra_configs: Any, analysis: dict[str, Any]) -> Call:
        asked = extra_configs if isinstance(extra_configs, dict) else {}
        env = {key: asked[key] for key in JOB_KEYS if key in asked}
        return Call(entry=self.entry, config={**env, "dj_configs": dj_configs, "extra_configs": extra_configs})


class Hooks(Mapping[str, Hook]):
    """All hooks by name: those above, and those that others register."""

    def __init__(self) -> None:
        self._registered = Registry(REGISTERED_HOOKS)

    def __getitem__(self, name: str) -> Hook:
        if name in HOOKS:
            return HOOKS[name]
        if is_target(name):
            return OwnHook(name)
        return OwnHook(*self._registered[name])

    def __iter__(self) -> Iterator[str]:
        return iter({**HOOKS, **dict.fromkeys(self._registered)})

    def __len__(self) -> int:
        return len(set(self))


ALL_HOOKS = Hooks()


def hook_named(name: str) -> Hook:
    """Raises ConfigError for a hook that cannot be run."""
    if name not in ALL_HOOKS:
        raise ConfigError(
            [Problem("the experiment", "hook", f"there is no hook {name!r}{did_you_mean(name, ALL_HOOKS)}")]
        )
    return ALL_HOOKS[name]


def _evaluated(outcome: Outcome) -> Recorded:
    """The results are the outputs, and watched."""
    watched = outcome.values if outcome.is_tuple else outcome.values[0]
    return Recorded(values=outcome.values, is_tuple=outcome.is_tuple, watched=watched)


def component_folders(job: Job, cwd: str) -> list[str]:
    """The folders that a job has put on the worker's path."""
    return [os.path.join(cwd, os.path.expanduser(job.component_path))] if job.component_path else []


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


def _at(config: Any, dotted: str) -> Any:
    """The value at a dotted key, None where there is none."""
    for part in dotted.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config
