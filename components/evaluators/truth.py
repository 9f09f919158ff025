"""Predictions compared with the ground truth, for each dataset: accuracy of labels, mean squared error of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from components.base import BaseEvaluator
from components.data.jsonl import dataset_paths, read_lines
from sandbox_actors.dotted import readings
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem

Result = dict[str, Any]


class Pair(NamedTuple):
    """A prediction and its truth; MISSING if the sample has none."""

    predicted: Any
    truth: Any


MISSING = object()


class TruthEvaluator(BaseEvaluator):
    """Base. Common settings, `<noun>` being label or value:

    predicted_dataset_path     .jsonl or .jsonl.gz, one file or a list
    ground_truth_dataset_path  the files with the truth: as many, with the same samples line by line (default: the
                               predicted files contain the truth)
    predicted_<noun>_key       the dotted key of the prediction
    ground_truth_<noun>_key    the dotted key of the truth

    `run` returns two outputs: the list of the results, one for each predicted file in order, and the best figure
    among them. Each result has `pred_path`, `gt_path`, the figure, `samples`, and `format_error`: how many of these
    have a prediction or a truth that cannot be parsed.
    """

    env = "plain"
    is_light = True
    reads = ("predicted_dataset_path", "ground_truth_dataset_path")
    kind, noun = "", ""

    def run(self, eval_type: str, eval_obj: Any = None, **kwargs: Any) -> tuple[list[Result], float]:
        predicted = dataset_paths(self.eval_config, "predicted_dataset_path", self.kind)
        truths = predicted
        if self.eval_config.get("ground_truth_dataset_path"):
            truths = dataset_paths(self.eval_config, "ground_truth_dataset_path", self.kind)
        if len(truths) != len(predicted):
            problem = f"{len(truths)} files for {len(predicted)} in predicted_dataset_path: each file needs one"
            raise ConfigError([Problem(self.kind, "ground_truth_dataset_path", problem)])
        results = [self._result(*paths) for paths in zip(predicted, truths, strict=True)]
        for result in results:
            print(", ".join(f"{name} {value}" for name, value in result.items()))
        return results, self.best([result[self.kind] for result in results if result[self.kind] is not None])

    def measure(self, pairs: list[Pair]) -> tuple[float | None, int]:
        """The figure of one dataset, None if there is none, and the number of pairs that cannot be parsed."""
        raise NotImplementedError

    def best(self, figures: list[float]) -> float:
        raise NotImplementedError

    def _result(self, predicted: Path, truth: Path) -> Result:
        pairs = list(self._pairs(predicted, truth))
        figure, errors = self.measure(pairs)
        return {
            "pred_path": str(predicted),
            "gt_path": str(truth),
            self.kind: figure,
            "samples": len(pairs),
            "format_error": errors,
        }

    def _pairs(self, predicted: Path, truth: Path) -> Iterator[Pair]:
        """Raises ComponentFailed if one file ends before the other, or if no sample has one of the keys."""
        number = 0
        keys = self._key("predicted"), self._key("ground_truth")
        has_any = [False, False]
        sides = [read_lines(predicted)] if truth == predicted else [read_lines(predicted), read_lines(truth)]
        for number, lines in enumerate(zip_longest(*sides), start=1):
            if None in lines:
                ended, other = (predicted, truth) if lines[0] is None else (truth, predicted)
                raise ComponentFailed(f"{ended} ends after {number - 1} samples, {other} has more: they do not match")
            samples = [line.sample for line in lines]
            found = [
                next(readings(sample, key), MISSING)
                for sample, key in zip((samples[0], samples[-1]), keys, strict=True)
            ]
            has_any = [known or value is not MISSING for known, value in zip(has_any, found, strict=True)]
            yield Pair(*found)
        if not number:
            raise ComponentFailed(f"{predicted} has no samples")
        for path, key, known in zip((predicted, truth), keys, has_any, strict=True):
            if not known:
                raise ComponentFailed(f"no sample of {path} has the key {key!r}")

    def _key(self, side: str) -> str:
        name = f"{side}_{self.noun}_key"
        key = self.eval_config.get(name)
        if not isinstance(key, str) or not key:
            raise ConfigError([Problem(self.kind, name, f"missing: the dotted key of the {self.noun}")])
        return key


class AccuracyEvaluator(TruthEvaluator):
    """`accuracy`: the share of all samples whose predicted label is the true one; the best is the highest.

    Labels are text, numbers or booleans, compared as text, so that 1 is "1". A missing value, null, a list or a
    mapping counts as a `format_error`, and the sample as predicted wrongly.
    """

    kind, noun = "accuracy", "label"
    required = ("predicted_dataset_path", "predicted_label_key", "ground_truth_label_key")
    keys = (*required, "ground_truth_dataset_path")

    def measure(self, pairs: list[Pair]) -> tuple[float | None, int]:
        good = [pair for pair in pairs if all(isinstance(label, (str, int, float)) for label in pair)]
        hits = sum(str(pair.predicted) == str(pair.truth) for pair in good)
        return hits / len(pairs), len(pairs) - len(good)

    def best(self, figures: list[float]) -> float:
        return max(figures)


class MSEEvaluator(TruthEvaluator):
    """`mse`: the mean of (predicted - truth)^2 over the samples in which both can be parsed; the best is the lowest.

    Values are finite numbers, or text that reads as one. If none can be parsed, `mse` is null; if that
    is so in all files, ComponentFailed is raised.
    """

    kind, noun = "mse", "value"
    required = ("predicted_dataset_path", "predicted_value_key", "ground_truth_value_key")
    keys = (*required, "ground_truth_dataset_path")

    def measure(self, pairs: list[Pair]) -> tuple[float | None, int]:
        numbers = [(_number(pair.predicted), _number(pair.truth)) for pair in pairs]
        apart = [left - right for left, right in numbers if left is not None and right is not None]
        return math.fsum(each * each for each in apart) / len(apart) if apart else None, len(pairs) - len(apart)

    def best(self, figures: list[float]) -> float:
        if not figures:
            raise ComponentFailed("mse: no sample of any file has a prediction and a truth that are numbers")
        return min(figures)


def _number(value: Any) -> float | None:
    if not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
