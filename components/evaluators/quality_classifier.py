"""Data-Juicer's quality classifiers: how similar a text is to the good texts of the classifier's training data."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.base import BaseEvaluator
from components.data.jsonl import dataset_paths, read_lines
from components.evaluators.sample_measures import text_of
from components.evaluators.spark_model import SparkClassifier, split
from sandbox_actors.errors import ComponentFailed
from sandbox_actors.files import user_path

LINKS = "https://dail-wlcb.oss-cn-wulanchabu.aliyuncs.com/data_juicer/models/"
"""The place of Data-Juicer's models."""

TOKENIZERS = {"gpt3": "", "chinese": "zh.sp.model", "code": "code.sp.model"}
"""The classifiers, with the sentencepiece model of each one that does not split at blanks."""

Words = Callable[[str], list[str]]


class QualityClassifier(BaseEvaluator):
    """The mean score of a dataset's samples, each from 0 to 1.

    dataset_path    .jsonl or .jsonl.gz, one file or a list
    text_key        the dotted key of the text (default `text`); a sample without text counts as an empty text
    model           `gpt3` (the default), `chinese`, `code`, or the folder of a classifier from Data-Juicer's training
                    tool
    model_path      the folder of the classifier, if it is not among Data-Juicer's models (below `models` of
                    DATA_JUICER_CACHE_HOME, ~/.cache/data_juicer)
    tokenizer       a sentencepiece model (default: the one of `model`)

    `run` returns the mean; the log has the quartiles and the share of samples above 0.5. Nothing is downloaded: if a
    model is missing, the error says what to download and where to put it.
    """

    env = "data-juicer"
    model_fields = ("model", "model_path", "tokenizer")
    required = ("dataset_path",)
    reads = ("dataset_path", "model_path")
    keys = ("dataset_path", "text_key", *model_fields)

    def load(self) -> tuple[SparkClassifier, Words]:
        model = str(self.eval_config.get("model") or "gpt3")
        chosen = self.eval_config.get("model_path") or (model if model not in TOKENIZERS else None)
        classifier = SparkClassifier(_folder(model, chosen))
        tokenizer = self.eval_config.get("tokenizer") or TOKENIZERS.get(model, "")
        if tokenizer:
            return classifier, _pieces(str(tokenizer))
        if not classifier.splits_text:
            raise ComponentFailed(f"the classifier {model} needs the `tokenizer` that it was trained with")
        return classifier, split

    def run(self, eval_type: str, eval_obj: Any = None, **kwargs: Any) -> float:
        classifier, words = self.loaded or self.load()
        key = str(self.eval_config.get("text_key") or "text")
        scores = sorted(
            classifier.probability(words(text_of(line.sample, key)))
            for path in dataset_paths(self.eval_config, "dataset_path", "dj_text_quality_classifier")
            for line in read_lines(path)
        )
        if not scores:
            raise ComponentFailed(f"{self.eval_config['dataset_path']} has no samples")
        low, middle, high = (scores[min(int(share * len(scores)), len(scores) - 1)] for share in (0.25, 0.5, 0.75))
        good = sum(score > 0.5 for score in scores) / len(scores)
        print(f"{len(scores)} samples: quartiles {low:.4f}, {middle:.4f}, {high:.4f}; above 0.5: {good:.1%}")
        return sum(scores) / len(scores)


def _models() -> Path:
    home = os.environ.get("DATA_JUICER_CACHE_HOME") or "~/.cache/data_juicer"
    return user_path(os.environ.get("DATA_JUICER_MODELS_CACHE") or Path(home, "models"))


def _folder(model: str, chosen: Any) -> Path:
    name = f"{model}_quality_model"
    folder = user_path(str(chosen)) if chosen else _models() / name
    if folder.is_dir():
        return folder
    if model not in TOKENIZERS:
        raise ComponentFailed(f"no folder {folder}: `model` must be {', '.join(TOKENIZERS)} or a classifier's folder")
    raise ComponentFailed(
        f"the quality classifier {model!r} is not on this machine: download {LINKS}{name}.zip and unpack it to "
        f"{folder}, or set `model_path` to its folder"
    )


def _pieces(tokenizer: str) -> Words:
    path = user_path(tokenizer)
    if not path.is_file() and path.parent == Path():
        path = _models() / tokenizer
    if not path.is_file():
        where = f"download {LINKS}{path.name} to {path}" if path.name in TOKENIZERS.values() else "name another"
        raise ComponentFailed(f"the tokenizer {tokenizer} is not on this machine: {where}")
    try:
        sentencepiece: Any = importlib.import_module("sentencepiece")
    except ImportError as error:
        raise ComponentFailed("`tokenizer` needs the package sentencepiece: add it to the job's env") from error
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def pieces(text: str) -> list[str]:
        return list(processor.encode_as_pieces(text))

    return pieces
