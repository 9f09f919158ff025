"""The config keys of the evaluators that measure each sample of a dataset."""

from __future__ import annotations

from typing import Any

import msgspec

from components.inference.settings import ApiSettings

STATS_KEY = "__dj__stats__"
"""Data-Juicer's key of a sample's statistics: its analyzer summarises them, and pools are split by them."""


class SampleLossSettings(msgspec.Struct, kw_only=True, frozen=True):
    """model         a folder, or a name on the hub
    model_params  arguments of `from_pretrained`
    dataset_path  jsonl; a hook that draws a sample passes the sample instead
    export_path   a .jsonl file, or a folder (default: `<name>_measured.jsonl` beside the dataset)
    text_key      the dotted key of the text (default `text`)
    stats_key     the dotted key under which the figures are written (default `__dj__stats__`)
    batch_size    texts in a batch (default 16)
    block_size    tokens in a sequence (default: the model's context length)
    """

    model: str
    model_params: dict[str, Any] = {}
    dataset_path: str | None = None
    export_path: str | None = None
    text_key: str = "text"
    stats_key: str = STATS_KEY
    batch_size: int = 16
    block_size: int | None = None


class PipelineScoreSettings(msgspec.Struct, kw_only=True, frozen=True):
    """model             a model's folder, or its name on modelscope's hub
    task              the task of the pipeline, such as `text-classification` (default: the model's own)
    pipeline_params   further arguments of `modelscope.pipelines.pipeline`, such as `sequence_length`
    dataset_path      jsonl; a hook that draws a sample passes the sample instead
    export_path       a .jsonl file, or a folder (default: `<name>_measured.jsonl` beside the dataset)
    text_key          the dotted key of the text (default `text`)
    stats_key         the dotted key under which the score is written (default `__dj__stats__`)
    batch_size        texts in a batch (default 16)
    response_path     the dotted path of the score in the pipeline's result for a text (default: the highest of its
                      `scores`)
    ground_truth_key  the dotted key of the label of a sample: its score is the one of this label
    """

    model: str
    task: str | None = None
    pipeline_params: dict[str, Any] = {}
    dataset_path: str | None = None
    export_path: str | None = None
    text_key: str = "text"
    stats_key: str = STATS_KEY
    batch_size: int = 16
    response_path: str | None = None
    ground_truth_key: str | None = None


class ApiScoreSettings(ApiSettings, kw_only=True, frozen=True):
    """The keys of ApiSettings, of which `dataset_path`, `export_path` and the functions have other defaults, and

    ground_truth_key  the dotted key of the correct answer: the score is 1 if the model gives it, else 0
    stats_key         the dotted key under which the score is written (default `__dj__stats__`)
    """

    dataset_path: str | None = None  # type: ignore[assignment]
    export_path: str | None = None  # type: ignore[assignment]
    build_messages_func: str = "build_messages_to_grade"
    parse_output_func: str | None = None  # type: ignore[assignment]
    ground_truth_key: str | None = None
    stats_key: str = STATS_KEY
