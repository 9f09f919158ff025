"""Which class a component config's `type` means, for each of the ten factories.

Classes are named as strings. Each declares what it needs (`components.base.Component`): for a class of this project,
this is read by importing its module, which imports no heavy library; for a user's own class, from its source.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from components.class_attributes import declared
from components.entry_points import COMPONENTS, Registry
from components.struct_settings import JOB_KEYS, misfits, required_of
from sandbox_actors.dotted import is_target
from sandbox_actors.errors import ConfigError, Problem, nearest


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One component class as the daemon and `sandbox check` know it.

    `target` is `module:Class`; `package` is the file or folder of its top-level package, which the worker gets;
    `is_own` marks a user's class. `keys` are all config keys that it accepts, empty if it accepts any. The rest is
    what the class declares: see `components.base.Component`.
    """

    target: str
    package: str = ""
    is_own: bool = False
    env: str = ""
    settings_type: type[msgspec.Struct] | None = None
    required: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    model_fields: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    needs_gpu: bool = False
    is_light: bool = False

    def misfits(self, config: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Keys with values of the wrong type or range, and why."""
        return [] if self.settings_type is None else misfits(config, self.settings_type)


@functools.cache
def entry_of(target: str) -> Entry:
    """The entry of a class of this project."""
    module, _, name = target.partition(":")
    kind = getattr(importlib.import_module(module), name)
    attributes = {field: getattr(kind, field) for field in Entry.__dataclass_fields__ if hasattr(kind, field)}
    if (settings := kind.settings_type) is not None:
        attributes["required"] = tuple(dict.fromkeys([*required_of(settings), *kind.required]))
        attributes["keys"] = settings.__struct_fields__
    return _with_job_keys(Entry(target=target, **attributes))


def described(entry: Entry, folders: Sequence[str] = ()) -> Entry:
    """The entry of a user's class with what the class declares, if its source is in `folders` or its package."""
    places = [*folders, str(Path(entry.package).parent)] if entry.package else folders
    attributes = declared(entry.target, places)
    return _with_job_keys(replace(entry, **{name: value for name, value in attributes.items() if name != "lists"}))


def _with_job_keys(entry: Entry) -> Entry:
    return replace(entry, keys=tuple(dict.fromkeys([*entry.keys, *JOB_KEYS]))) if entry.keys else entry


class Entries(Mapping[str, Entry]):
    """Entries by name: those of this project, then those that others register. Each is read when it is looked up."""

    def __init__(self, targets: Mapping[str, str], registry: Mapping[str, Any]) -> None:
        self._targets, self._registry = targets, registry

    def __getitem__(self, name: str) -> Entry:
        if name in self._targets:
            return entry_of(self._targets[name])
        found = self._registry[name]
        return described(Entry(target=found.target, package=found.package, is_own=True))

    def __iter__(self) -> Iterator[str]:
        return iter({**self._targets, **dict.fromkeys(self._registry)})

    def __len__(self) -> int:
        return len(set(self))


class Factory:
    """`types`: the class that each `type` means. `default_type`: that of a config without a `type`, if any."""

    def __init__(self, name: str, types: Mapping[str, str], default_type: str | None = None) -> None:
        self.name, self.default_type = name, default_type
        self.entries = Entries(types, Registry(COMPONENTS, f"{name}."))

    def resolve(self, config: Mapping[str, Any] | None) -> Entry:
        """The entry that the `type` of a component config asks for; `package.module:Class` is a user's class.

        Raises ConfigError, with one problem at `type` that names the nearest known type.
        """
        wanted = (config or {}).get("type", self.default_type)
        if isinstance(wanted, str) and wanted in self.entries:
            return self.entries[wanted]
        if is_target(wanted):
            return Entry(target=str(wanted), is_own=True)
        near = nearest(str(wanted), self.entries)
        wrong = "missing" if wanted is None else f"unknown type {wanted!r}"
        hint = ";" if wanted is None or near is None else f", did you mean {near!r}?"
        known = f"known: {', '.join(sorted(self.entries))}; a class of your own is written package.module:Class"
        raise ConfigError([Problem(self.name, "type", f"{wrong}{hint} {known}")])


PLAIN = "plain"
"""The env of a component that declares none."""

MEASURES_OF_DATA = {
    "accuracy": "components.evaluators.truth:AccuracyEvaluator",
    "mse": "components.evaluators.truth:MSEEvaluator",
    "dj_text_quality_classifier": "components.evaluators.quality_classifier:QualityClassifier",
    "text_quality": "components.evaluators.text_quality:TextQuality",
}
"""Evaluators of data. They evaluate models too, by the data that a model has written."""

FACTORIES: dict[str, Factory] = {
    factory.name: factory
    for factory in (
        Factory("DataAnalyzerFactory", {"data_juicer": "components.data.analyzer:DataAnalyzer"}, "data_juicer"),
        Factory("DataExecutorFactory", {"data_juicer": "components.data.executor:DataExecutor"}, "data_juicer"),
        Factory("GeneralProbeFactory", {"data_pool_ranking": "components.pools.ranking:DataPoolRanking"}),
        Factory(
            "DataPoolManipulatorFactory",
            {
                "data_pool_cartesian_join": "components.pools.cartesian_join:DataPoolCartesianJoin",
                "data_pool_combination": "components.pools.combination:DataPoolCombination",
                "data_pool_construction": "components.pools.construction:DataPoolConstruction",
                "data_pool_duplication": "components.pools.duplication:DataPoolDuplication",
                "data_pool_downsampling": "components.pools.downsampling:DataPoolDownsampling",
                "data_pool_merging": "components.pools.merging:DataPoolMerging",
            },
        ),
        Factory(
            "GeneralDataExecutorFactory",
            {
                "coco_caption_to_dj_conversion": "components.data.conversions:CocoCaptionToDataJuicer",
                "coco_caption_meta_generation": "components.data.conversions:CocoCaptionMeta",
                "dj_to_easyanimate_video_dataset_conversion": "components.data.conversions:DataJuicerToEasyAnimate",
                "python_docs_corpus": "components.data.corpus:PythonDocsCorpus",
                "prompt_generation": "components.inference.prompt_generation:PromptGeneration",
                "tokenizer_training": "components.models.tokenizer:TokenizerTraining",
            },
        ),
        Factory(
            "ModelTrainExecutorFactory",
            {
                "transformers": "components.models.transformers_trainer:TransformersTrainExecutor",
                "modelscope": "components.models.modelscope_trainer:ModelscopeTrainExecutor",
            },
        ),
        Factory(
            "ModelInferExecutorFactory",
            {
                "api": "components.inference.api:ApiInferExecutor",
                "vllm": "components.inference.vllm_engine:VllmInferExecutor",
                "huggingface": "components.inference.huggingface:HuggingFaceInferExecutor",
            },
        ),
        Factory(
            "ModelInferEvaluatorFactory",
            {
                "api": "components.evaluators.api_score:ApiScoreEvaluator",
                "modelscope": "components.evaluators.pipeline_score:PipelineScoreEvaluator",
                "transformers": "components.evaluators.sample_loss:SampleLossEvaluator",
            },
        ),
        Factory("DataEvaluatorFactory", MEASURES_OF_DATA),
        Factory(
            "ModelEvaluatorFactory",
            {
                **MEASURES_OF_DATA,
                "lm_eval": "components.evaluators.harness:HarnessEvaluator",
                "perplexity": "components.evaluators.perplexity:PerplexityEvaluator",
            },
        ),
    )
}

REFINERS: Mapping[str, Entry] = Entries(
    {
        "RefineRecipeViaKSigmaHook": "components.data.k_sigma:KSigmaRefiner",
        "RefineRecipeViaModelFeedbackHook": "components.data.feedback:FeedbackRefiner",
    },
    {},
)
"""The component of each refining hook. They have no factory, because each hook has only one component."""
