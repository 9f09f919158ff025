"""The ten factories: which class a component config's `type` means, and in which env it runs.

Plain data, imported by the daemon and by `sandbox check`: classes are named as strings and imported by workers only.
"""

from __future__ import annotations

import difflib
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from components.class_attributes import declared
from components.entry_points import COMPONENTS, Registry
from components.evaluators.harness import HarnessSettings
from components.evaluators.measure_settings import ApiScoreSettings, PipelineScoreSettings, SampleLossSettings
from components.evaluators.perplexity import PerplexitySettings
from components.inference.settings import ApiSettings, HuggingFaceSettings, PromptGenerationSettings, VllmSettings
from components.models.modelscope_trainer import ModelscopeTraining
from components.models.training import Training
from components.struct_settings import JOB_KEYS, keys_of, misfits
from sandbox_actors.errors import ConfigError, Problem

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One component class, as the daemon needs to know it.

    target        `module:Class`
    env           name of the env spec it runs in, unless the job names another; empty for a user's own class
    model_fields  dotted config keys that identify what `load()` makes: while their values stay the same, it is kept
    required      dotted config keys without which it cannot run
    reads         config keys that name files or folders it reads, one path or a list of them
    keys          all config keys it knows; none here means that it takes any
    settings      a Struct with those of the keys whose values are to be checked before the run
    secrets       dotted config keys that people write keys of APIs under, which no file should hold
    needs_gpu     its env is of no use without one
    package       the file or folder of the top-level package that the class is in, handed to the worker
    is_own        a class of the user's, which may say itself what is empty here (see declared.py)
    is_light      its process starts in a fraction of a second and holds nothing worth keeping warm
    """

    target: str
    env: str = ""
    model_fields: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    settings: type[msgspec.Struct] | None = None
    secrets: tuple[str, ...] = ()
    needs_gpu: bool = False
    package: str = ""
    is_own: bool = False
    is_light: bool = False

    def misfits(self, config: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Keys whose values cannot be meant, and why."""
        return [] if self.settings is None else misfits(config, self.settings)


class Types(Mapping[str, Entry]):
    """The entries of one factory by type: those that come with this project, then those that others register."""

    def __init__(self, factory: str, own: Mapping[str, Entry]) -> None:
        self._own, self._registered = own, Registry(COMPONENTS, f"{factory}.")

    def __getitem__(self, name: str) -> Entry:
        if name in self._own:
            return self._own[name]
        found = self._registered[name]
        return described(Entry(target=found.target, package=found.package, is_own=True))

    def __iter__(self) -> Iterator[str]:
        return iter({**self._own, **dict.fromkeys(self._registered)})

    def __len__(self) -> int:
        return len(set(self))


@dataclass(frozen=True, kw_only=True)
class Factory:
    """`entries` by the `type` that asks for them. `default_type` is meant where a config has no `type`, if any is."""

    name: str
    entries: Mapping[str, Entry]
    default_type: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", Types(self.name, self.entries))

    def resolve(self, config: Mapping[str, Any] | None) -> Entry:
        """The entry that the `type` of a component config asks for; `package.module:Class` is a class of the user's.

        Raises ConfigError, with one problem at `type` that names the nearest known type.
        """
        wanted = (config or {}).get("type", self.default_type)
        if isinstance(wanted, str) and wanted in self.entries:
            return self.entries[wanted]
        if isinstance(wanted, str) and is_target(wanted):
            return Entry(target=wanted, is_own=True)
        raise ConfigError([Problem(self.name, "type", self._complaint(wanted))])

    def _complaint(self, wanted: Any) -> str:
        known = f"known: {', '.join(sorted(self.entries))}" if self.entries else "it has no types of its own"
        own = "a class of your own is written package.module:Class"
        if wanted is None:
            return f"missing; {known}; {own}"
        nearest = difflib.get_close_matches(str(wanted), self.entries, n=1)
        hint = f", did you mean {nearest[0]!r}?" if nearest else ";"
        return f"unknown type {wanted!r}{hint} {known}; {own}"


def is_target(name: str) -> bool:
    """Whether `name` is written as a class of the user's: `package.module:Class`."""
    return _TARGET.fullmatch(name) is not None


def described(entry: Entry, folders: Sequence[str] = ()) -> Entry:
    """An entry of the user's own with what its class says of itself, if its source is in `folders` or its package."""
    places = [*folders, str(Path(entry.package).parent)] if entry.package else folders
    said = declared(entry.target, places)
    return replace(entry, **{name: value for name, value in said.items() if name != "lists"})


DATA_JUICER = "data-juicer"
TRANSFORMERS = "transformers"
MODELSCOPE = "modelscope"
LM_EVAL = "lm-eval"
PLAIN = "plain"
POOLS = "pools"
API = "api"
VLLM = "vllm"

API_SECRETS = ("api_key", "model_params.api_key", "model_params.default_headers.Authorization")


SETTINGS: tuple[str, ...] = tuple(json.loads(pkgutil.get_data("components.data", "settings.json") or b"[]"))
"""The keys of a recipe, as `components/data/operators.py` writes them down."""


def _recipe_runner(target: str) -> Entry:
    return Entry(
        target=target,
        env=DATA_JUICER,
        required=("dataset_path", "export_path"),
        reads=("dataset_path",),
        keys=SETTINGS,
    )


def _conversion(name: str, *required: str, keys: tuple[str, ...] = ()) -> Entry:
    needed = ("dataset_path", "export_path", *required)
    return Entry(
        target=f"components.data.conversions:{name}",
        env=PLAIN,
        required=needed,
        reads=("dataset_path",),
        keys=("type", *needed, *keys),
        is_light=True,
    )


def _truth(name: str, noun: str) -> Entry:
    reads = ("predicted_dataset_path", "ground_truth_dataset_path")
    names = (f"predicted_{noun}_key", f"ground_truth_{noun}_key")
    return Entry(
        target=f"components.evaluators.truth:{name}",
        env=PLAIN,
        required=(reads[0], *names),
        reads=reads,
        keys=("type", *reads, *names),
        is_light=True,
    )


MEASURES_OF_DATA: dict[str, Entry] = {
    "accuracy": _truth("AccuracyEvaluator", "label"),
    "mse": _truth("MSEEvaluator", "value"),
    "dj_text_quality_classifier": Entry(
        target="components.evaluators.quality_classifier:QualityClassifier",
        env=DATA_JUICER,
        model_fields=("model", "model_path", "tokenizer"),
        required=("dataset_path",),
        reads=("dataset_path", "model_path"),
        keys=("type", "dataset_path", "text_key", "model", "model_path", "tokenizer"),
    ),
    "text_quality": Entry(
        target="components.evaluators.text_quality:TextQuality",
        env=DATA_JUICER,
        required=("dataset_path",),
        reads=("dataset_path",),
        keys=("type", "dataset_path", "text_key", "near_duplicate", "recipe"),
    ),
}
"""What evaluates data; the data may be what a model has written, so that models are evaluated by it too."""


def _pool_job(
    target: str, *required: str, keys: tuple[str, ...] = (), reads: tuple[str, ...] = ("dataset_path",)
) -> Entry:
    """`required` and `keys` beside the pools that it reads and the folder that it writes into."""
    needed = (*reads, "export_path", *required)
    return Entry(
        target=f"components.pools.{target}",
        env=POOLS,
        required=needed,
        reads=reads,
        keys=(*needed, *keys, *JOB_KEYS),
        is_light=True,
    )


FACTORIES: dict[str, Factory] = {
    factory.name: factory
    for factory in (
        Factory(
            name="DataAnalyzerFactory",
            default_type="data_juicer",
            entries={"data_juicer": _recipe_runner("components.data.analyzer:DataAnalyzer")},
        ),
        Factory(
            name="DataExecutorFactory",
            default_type="data_juicer",
            entries={"data_juicer": _recipe_runner("components.data.executor:DataExecutor")},
        ),
        Factory(
            name="GeneralProbeFactory",
            entries={
                "data_pool_ranking": Entry(
                    target="components.pools.ranking:DataPoolRanking",
                    env=PLAIN,
                    required=("dataset_path", "metrics"),
                    keys=("dataset_path", "metrics", "ranking_keys", "descending", "top_n", *JOB_KEYS),
                    is_light=True,
                ),
            },
        ),
        Factory(
            name="DataPoolManipulatorFactory",
            entries={
                "data_pool_cartesian_join": _pool_job(
                    "cartesian_join:DataPoolCartesianJoin",
                    keys=("default_prefix",),
                    reads=("dataset_path_1", "dataset_path_2"),
                ),
                "data_pool_combination": _pool_job("combination:DataPoolCombination", keys=("default_prefix",)),
                "data_pool_construction": _pool_job(
                    "construction:DataPoolConstruction", keys=("split_ratios", "split_num", "ignore_stats")
                ),
                "data_pool_duplication": _pool_job(
                    "duplication:DataPoolDuplication", "duplicating_times", keys=("shuffle", "shuffle_seed")
                ),
                "data_pool_downsampling": _pool_job(
                    "downsampling:DataPoolDownsampling", keys=("target_num_samples", "shuffle_seed")
                ),
                "data_pool_merging": _pool_job("merging:DataPoolMerging", keys=("default_prefix",)),
            },
        ),
        Factory(
            name="GeneralDataExecutorFactory",
            entries={
                "coco_caption_to_dj_conversion": _conversion("CocoCaptionToDataJuicer", keys=("image_root",)),
                "coco_caption_meta_generation": _conversion(
                    "CocoCaptionMeta", "data_root_path", keys=("root", "data_augment", "repeat_time")
                ),
                "dj_to_easyanimate_video_dataset_conversion": _conversion("DataJuicerToEasyAnimate"),
                "python_docs_corpus": Entry(
                    target="components.data.corpus:PythonDocsCorpus",
                    env=PLAIN,
                    required=("export_path",),
                    is_light=True,
                ),
                "prompt_generation": Entry(
                    target="components.inference.prompt_generation:PromptGeneration",
                    env=API,
                    required=("dataset_path", "export_path"),
                    reads=("dataset_path",),
                    keys=keys_of(PromptGenerationSettings),
                    secrets=API_SECRETS,
                    is_light=True,
                ),
                "tokenizer_training": Entry(
                    target="components.models.tokenizer:TokenizerTraining",
                    env=TRANSFORMERS,
                    required=("dataset_path", "export_path"),
                    reads=("dataset_path",),
                    is_light=True,
                ),
            },
        ),
        Factory(
            name="ModelTrainExecutorFactory",
            entries={
                "transformers": Entry(
                    target="components.models.transformers_trainer:TransformersTrainExecutor",
                    env=TRANSFORMERS,
                    model_fields=("model", "dtype", "seed"),
                    required=("model", "train_dataset", "output_dir"),
                    reads=("model", "tokenizer", "train_dataset", "eval_dataset"),
                    keys=keys_of(Training),
                    settings=Training,
                ),
                "modelscope": Entry(
                    target="components.models.modelscope_trainer:ModelscopeTrainExecutor",
                    env=MODELSCOPE,
                    required=("model_name", "trainer_name", "work_dir"),
                    reads=("model_name", "train_dataset", "eval_dataset"),
                    keys=keys_of(ModelscopeTraining),
                    settings=ModelscopeTraining,
                ),
            },
        ),
        Factory(
            name="ModelInferExecutorFactory",
            entries={
                "api": Entry(
                    target="components.inference.api:ApiInferExecutor",
                    env=API,
                    required=("dataset_path", "export_path"),
                    reads=("dataset_path",),
                    keys=keys_of(ApiSettings),
                    secrets=API_SECRETS,
                    is_light=True,
                ),
                "vllm": Entry(
                    target="components.inference.vllm_engine:VllmInferExecutor",
                    env=VLLM,
                    model_fields=("model", "model_params"),
                    required=("dataset_path", "export_path", "model"),
                    reads=("dataset_path",),
                    keys=keys_of(VllmSettings),
                    needs_gpu=True,
                ),
                "huggingface": Entry(
                    target="components.inference.huggingface:HuggingFaceInferExecutor",
                    env=TRANSFORMERS,
                    model_fields=("model", "model_params"),
                    required=("dataset_path", "export_path", "model"),
                    reads=("dataset_path",),
                    keys=keys_of(HuggingFaceSettings),
                ),
            },
        ),
        Factory(
            name="ModelInferEvaluatorFactory",
            entries={
                "api": Entry(
                    target="components.evaluators.api_score:ApiScoreEvaluator",
                    env=API,
                    reads=("dataset_path",),
                    keys=keys_of(ApiScoreSettings),
                    secrets=API_SECRETS,
                    is_light=True,
                ),
                "modelscope": Entry(
                    target="components.evaluators.pipeline_score:PipelineScoreEvaluator",
                    env=MODELSCOPE,
                    model_fields=("model", "task", "pipeline_params"),
                    required=("model",),
                    reads=("dataset_path",),
                    keys=keys_of(PipelineScoreSettings),
                ),
                "transformers": Entry(
                    target="components.evaluators.sample_loss:SampleLossEvaluator",
                    env=TRANSFORMERS,
                    model_fields=("model", "model_params"),
                    required=("model",),
                    reads=("dataset_path",),
                    keys=keys_of(SampleLossSettings),
                ),
            },
        ),
        Factory(name="DataEvaluatorFactory", entries=MEASURES_OF_DATA),
        Factory(
            name="ModelEvaluatorFactory",
            entries={
                **MEASURES_OF_DATA,
                "lm_eval": Entry(
                    target="components.evaluators.harness:HarnessEvaluator",
                    env=LM_EVAL,
                    required=("model", "tasks"),
                    reads=("model", "include_path"),
                    keys=keys_of(HarnessSettings),
                    settings=HarnessSettings,
                ),
                "perplexity": Entry(
                    target="components.evaluators.perplexity:PerplexityEvaluator",
                    env=TRANSFORMERS,
                    required=("model", "dataset_path"),
                    reads=("model", "dataset_path"),
                    keys=keys_of(PerplexitySettings),
                    settings=PerplexitySettings,
                ),
            },
        ),
    )
}

REFINERS: dict[str, Entry] = {
    "RefineRecipeViaKSigmaHook": Entry(
        target="components.data.k_sigma:KSigmaRefiner",
        env=DATA_JUICER,
        required=("path_k_sigma_recipe",),
        reads=("dataset_path",),
        keys=("path_k_sigma_recipe", "k", "dataset_path", "analysis"),
    ),
    "RefineRecipeViaModelFeedbackHook": Entry(
        target="components.data.feedback:FeedbackRefiner",
        env=DATA_JUICER,
        required=("path_model_feedback_recipe", "measure_key"),
        reads=("dataset_path", "measure_path"),
        keys=(
            *("path_model_feedback_recipe", "dataset_path", "measure_key", "measure_path"),
            *("band", "coverage", "significance", "analysis"),
        ),
    ),
}
"""What the refining hooks run, by hook: they have no factory, because there is nothing to choose between."""
