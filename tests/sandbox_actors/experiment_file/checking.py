"""Checks of an experiment file against a small catalogue, for the tests of the checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.experiment_file.load import Loaded, load_experiment


@dataclass(frozen=True)
class Kind:
    required: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    needs_gpu: bool = False
    whole_numbers: tuple[str, ...] = ()

    def misfits(self, config: Mapping[str, Any]) -> list[tuple[str, str]]:
        return [(key, "not a whole number") for key in self.whole_numbers if not isinstance(config.get(key, 0), int)]


@dataclass(frozen=True)
class Factory:
    entries: dict[str, Kind] = field(default_factory=dict)
    default_type: str | None = None


CATALOGUE = Catalogue(
    factories={
        "DataAnalyzerFactory": Factory({"data_juicer": Kind(required=("dataset_path",))}, "data_juicer"),
        "DataExecutorFactory": Factory({"data_juicer": Kind(required=("dataset_path",))}, "data_juicer"),
        "GeneralDataExecutorFactory": Factory({"convert": Kind()}),
        "ModelTrainExecutorFactory": Factory(
            {
                "transformers": Kind(required=("model.name", "train_dataset"), reads=("train_dataset", "tokenizer")),
                "modelscope": Kind(),
            }
        ),
        "ModelInferExecutorFactory": Factory(
            {"api": Kind(secrets=("model_params.api_key",)), "vllm": Kind(needs_gpu=True)}
        ),
        "ModelEvaluatorFactory": Factory(
            {"perplexity": Kind(), "strict": Kind(keys=("type", "batch_size"), whole_numbers=("batch_size",))}
        ),
        "DataEvaluatorFactory": Factory({"accuracy": Kind()}),
    },
    refiners={"RefineRecipeViaKSigmaHook": Kind(required=("path_k_sigma_recipe",))},
    operators={"text_length_filter": ["min_len", "max_len"], "words_num_filter": ["lang", "min_num"]},
    envs=("data-juicer", "transformers"),
)


def load(text: str, catalogue: Catalogue | None = CATALOGUE) -> Loaded:
    Path("sandbox.yaml").write_text(text)
    return load_experiment("sandbox.yaml", [], catalogue)


def errors(text: str) -> list[str]:
    return [f"{error.path}: {error.message}" for error in load(text).errors]


def warnings(text: str) -> list[str]:
    loaded = load(text)
    assert loaded.errors == []
    return [f"{warning.path}: {warning.message}" for warning in loaded.warnings]


def in_lists(**lists: Sequence[str]) -> str:
    """A file with these jobs, each a flow mapping in a line of its own."""
    parts = []
    for name, jobs in lists.items():
        parts.append(f"{name}_job_configs:")
        parts += [f"  - {{{job}}}" for job in jobs]
    return "\n".join(parts)


def executing(*jobs: str) -> str:
    return in_lists(execution=jobs)


CONVERT = "hook: GeneralDataExecutorHook, extra_configs: {type: convert}"
