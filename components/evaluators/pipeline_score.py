"""A score for each sample by a pipeline of modelscope: its confidence, or its score for the sample's label."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.base import BaseEvaluator, keep_imports
from components.evaluators.measure_settings import PipelineScoreSettings
from components.evaluators.sample_measures import dataset_of, summary, target_of, text_of, write_measured
from components.inference.samples import read_samples
from components.models.causal import files_of
from components.models.hub import find_modelscope_model
from components.models.process_state import unchanged_process
from components.struct_settings import read_settings
from sandbox_actors.dotted import find
from sandbox_actors.errors import ComponentFailed, ConfigError, ContextError, Problem

WHO = "model infer evaluator"
SCORE = "model_score"


class Pipelines:
    """Makes pipelines, and keeps the last one while the next is the same."""

    def __init__(self) -> None:
        self._make = importlib.import_module("modelscope.pipelines").pipeline
        self._identity: Any = None
        self._pipeline: Any = None

    def pipeline(self, settings: PipelineScoreSettings) -> Any:
        """Raises ComponentFailed."""
        name = find_modelscope_model(settings.model)
        files = files_of(Path(name)) if Path(name).is_dir() else None
        identity = [name, files, settings.task, settings.pipeline_params]
        if self._pipeline is None or identity != self._identity:
            self._pipeline = None
            try:
                self._pipeline = self._make(task=settings.task, model=name, **settings.pipeline_params)
            except Exception as error:  # modelscope and its hub raise anything
                raise ComponentFailed(f"modelscope cannot make a pipeline of {name}: {error}") from error
            self._identity = identity
        return self._pipeline


class PipelineScoreEvaluator(BaseEvaluator):
    """Writes the dataset with a score in each sample, and returns

    export_path  the measured dataset
    measure_key  the dotted key of the score: `__dj__stats__.model_score`
    samples      their number; the score of one without text is null
    score        summary over the samples: count, mean, std, min, 25%, 50%, 75%, max
    """

    env = "modelscope"
    model_fields = ("model", "task", "pipeline_params")
    reads = ("dataset_path",)
    settings_type = PipelineScoreSettings

    def load(self) -> Pipelines:
        pipelines = Pipelines()
        keep_imports()
        return pipelines

    def run(self, eval_type: str, eval_obj: Any = None, **kwargs: Any) -> dict[str, Any]:
        settings = read_settings(self.eval_config, PipelineScoreSettings, WHO)
        if settings.batch_size < 1:
            raise ConfigError([Problem(WHO, "batch_size", "must be at least 1")])
        dataset = dataset_of(settings.dataset_path, eval_obj, WHO)
        items = [sample.item for sample in read_samples(dataset)]
        pipelines: Pipelines = self.loaded or self.load()
        with unchanged_process():
            scores = list(_scores(pipelines.pipeline(settings), items, settings))
        figures, target = summary(scores), target_of(settings.export_path, dataset)
        write_measured(dataset, target, settings.stats_key, [{SCORE: score} for score in scores])
        print(f"{len(scores)} samples measured: {target}")
        return {
            "export_path": str(target),
            "measure_key": f"{settings.stats_key}.{SCORE}",
            "samples": len(scores),
            "score": figures,
        }


def _scores(pipeline: Any, items: list[dict[str, Any]], settings: PipelineScoreSettings) -> Iterator[float | None]:
    bar = importlib.import_module("tqdm").tqdm(
        total=len(items), desc="measuring", unit="sample", delay=2, mininterval=0.2
    )
    with bar:
        for first in range(0, len(items), settings.batch_size):
            batch = items[first : first + settings.batch_size]
            texts = [text_of(item, settings.text_key) for item in batch]
            asked = [text for text in texts if text]
            said = iter(pipeline(asked, batch_size=len(asked)) if asked else ())
            for item, text in zip(batch, texts, strict=True):
                yield _score(next(said), item, settings) if text else None
            bar.update(len(batch))


def _score(said: Any, item: dict[str, Any], settings: PipelineScoreSettings) -> float | None:
    """Raises ComponentFailed if the pipeline's result contains no score."""
    try:
        if settings.ground_truth_key is not None:
            label = str(find(item, settings.ground_truth_key))
            found = said["scores"][[str(each) for each in said["labels"]].index(label)]
        elif settings.response_path is not None:
            found = find(said, settings.response_path)
        else:
            found = max(said["scores"])
        score = float(found)
    except (ContextError, KeyError, TypeError, ValueError) as error:
        where = settings.ground_truth_key or settings.response_path or "scores"
        raise ComponentFailed(
            f"no score by {where} in the result of the pipeline: {str(said)[:200]} ({error!r})"
        ) from error
    return score if math.isfinite(score) else None
