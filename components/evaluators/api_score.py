"""A score for each sample by a model behind an API: its grade for the sample, or whether its answer is correct."""

from __future__ import annotations

from typing import Any

from components.base import BaseEvaluator
from components.evaluators.measure_settings import ApiScoreSettings
from components.evaluators.sample_measures import dataset_of, summary, target_of
from components.inference.api import ApiInferExecutor
from components.inference.datasets import InferDataset, Prompts
from components.inference.samples import Sample
from components.inference.settings import API_SECRETS
from sandbox_actors.dotted import find
from sandbox_actors.errors import ContextError

SCORE = "model_score"


class ApiScoreEvaluator(BaseEvaluator):
    """Writes the dataset with a score in each sample, and returns

    export_path  the measured dataset
    measure_key  the dotted key of the score: `__dj__stats__.model_score`
    samples      their number
    failed       the number of samples whose score is null, with the reason in `model_score_error`
    score        summary over the samples: count, mean, std, min, 25%, 50%, 75%, max

    The score is the number in the answer. An interrupted run continues where it stopped.
    """

    env = "api"
    is_light = True
    reads = ("dataset_path",)
    secrets = API_SECRETS
    settings_type = ApiScoreSettings

    def run(self, eval_type: str, eval_obj: Any = None, **kwargs: Any) -> dict[str, Any]:
        import asyncio

        executor = _ScoreExecutor(self.eval_config)
        settings: Any = executor.settings()
        dataset = dataset_of(settings.dataset_path, eval_obj, "model infer evaluator")
        target = target_of(settings.export_path, dataset)
        target.parent.mkdir(parents=True, exist_ok=True)
        scores: list[float | None] = []
        results = asyncio.run(
            executor.infer(
                [InferDataset(dataset, target, _prompts(settings))],
                settings,
                [*settings.stats_key.split("."), SCORE],
                scores.append,
            )
        )
        print(f"{len(scores)} samples measured: {target}")
        return {
            "export_path": str(target),
            "measure_key": f"{settings.stats_key}.{SCORE}",
            "samples": len(scores),
            "failed": results["failed"],
            "score": summary(scores),
        }


class _ScoreExecutor(ApiInferExecutor):
    settings_type = ApiScoreSettings


class _Graded(Prompts):
    """Answers compared with the ground truth: 1 or 0."""

    def __init__(self, settings: ApiScoreSettings, key: str) -> None:
        parse = settings.parse_output_func or "parse_output"
        super().__init__(settings.build_messages_func, parse, settings.func_kwargs)
        self._key = key

    def parse(self, output: Any, sample: Sample) -> float:
        try:
            truth = find(sample.item, self._key)
        except ContextError as error:
            raise ValueError(f"the sample has nothing at {self._key}: {error}") from None
        return float(_same(super().parse(output, sample), truth))


class _Scored(Prompts):
    """Answers that are numbers."""

    def __init__(self, settings: ApiScoreSettings) -> None:
        parse = settings.parse_output_func or "parse_number"
        super().__init__(settings.build_messages_func, parse, settings.func_kwargs)

    def parse(self, output: Any, sample: Sample) -> float:
        return float(super().parse(output, sample))


def _prompts(settings: ApiScoreSettings) -> Prompts:
    key = settings.ground_truth_key
    return _Scored(settings) if key is None else _Graded(settings, key)


def _same(answer: Any, truth: Any) -> bool:
    """Numbers are compared by value, anything else as text without surrounding blanks."""
    left, right = str(answer).strip(), str(truth).strip()
    try:
        return float(left) == float(right)
    except ValueError:
        return left == right
