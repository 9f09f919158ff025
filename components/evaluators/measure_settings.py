"""The keys of what measures each sample of a dataset, their types and defaults."""

from __future__ import annotations

from typing import Any

import msgspec

from components.inference.settings import ApiSettings

STATS_KEY = "__dj__stats__"
"""Where Data-Juicer has a sample's statistics: its analyzer sums up what lies there, and pools are split by it."""


class SampleLossSettings(msgspec.Struct, kw_only=True, frozen=True):
    """model         a folder, or a name on the hub
    model_params  arguments of `from_pretrained`
    dataset_path  jsonl; a hook that draws a sample hands that over instead
    export_path   a .jsonl file, or a folder (default: `<name>_measured.jsonl` beside the dataset)
    text_key      where the text of a sample is, dotted (default `text`)
    stats_key     below what the figures are written, dotted (default `__dj__stats__`)
    batch_size    texts at once (default 16)
    block_size    tokens that the model sees at once (default: as many as it can)
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
    task              which of modelscope's pipelines, such as `text-classification` (default: the model's own)
    pipeline_params   further arguments of `modelscope.pipelines.pipeline`, such as `sequence_length`
    dataset_path      jsonl; a hook that draws a sample hands that over instead
    export_path       a .jsonl file, or a folder (default: `<name>_measured.jsonl` beside the dataset)
    text_key          where the text of a sample is, dotted (default `text`)
    stats_key         below what the score is written, dotted (default `__dj__stats__`)
    batch_size        texts at once (default 16)
    response_path     where the score lies in what the pipeline says of a text, dotted (default: the highest of its
                      `scores`)
    ground_truth_key  where a sample has its label, dotted: the score is then that of this label
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

    ground_truth_key  where a sample has the right answer, dotted: the score is 1 where the model gives that, else 0
    stats_key         below what the score is written, dotted (default `__dj__stats__`)
    """

    dataset_path: str | None = None  # type: ignore[assignment]
    export_path: str | None = None  # type: ignore[assignment]
    build_messages_func: str = "build_messages_to_grade"
    parse_output_func: str | None = None  # type: ignore[assignment]
    ground_truth_key: str | None = None
    stats_key: str = STATS_KEY
