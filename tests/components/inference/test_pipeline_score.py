"""Scores of a pipeline of the real modelscope, with a BERT of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.components.conftest import ComponentProcess, Start
from tests.components.models.test_modelscope import ENV, Bert


@pytest.fixture(scope="module")
def bert(component_env: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Bert:
    return Bert(tmp_path_factory.mktemp("bert"), component_env(ENV))


@pytest.fixture(scope="module")
def scores(start_component: Start) -> ComponentProcess:
    return start_component(ENV, "components.evaluators.pipeline_score:PipelineScoreEvaluator")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text(
        '{"text": "the film was good", "label": 1, "__dj__stats__": {"text_len": 17.0}}\n'
        '{"text": "", "label": 0}\n'
        '{"label":0,"text":"the film was very bad"}\n'
    )
    return path


def config(bert: Bert, **settings: Any) -> dict[str, Any]:
    params = {"sequence_length": 32}
    return {
        "type": "modelscope",
        "task": "text-classification",
        "model": str(bert.model),
        "pipeline_params": params,
        **settings,
    }


def test_each_sample_gets_its_score_and_a_warm_run_the_same(
    scores: ComponentProcess, bert: Bert, dataset: Path
) -> None:
    cold = scores.run(config(bert), "modelscope", str(dataset))
    assert cold.error is None, cold.log
    lines = Path(cold.result["export_path"]).read_text().splitlines()
    found = [json.loads(line)["__dj__stats__"]["model_score"] for line in lines]
    assert lines[0].startswith('{"text": "the film was good", "label": 1, "__dj__stats__": {"text_len": 17.0, "model_')
    assert found[1] is None
    assert 0.5 <= found[0] < 1, "the higher of two"
    assert (cold.result["samples"], cold.result["score"]["count"]) == (3, 2)
    warm = scores.run(config(bert, batch_size=1), "modelscope", str(dataset))
    assert warm.result["score"]["mean"] == pytest.approx(cold.result["score"]["mean"], rel=1e-5)
    assert "cuda is not available" in cold.log
    assert "cuda is not available" not in warm.log, "the pipeline is there already"

    truth = scores.run(config(bert, ground_truth_key="label"), "modelscope", str(dataset)).result
    of_labels = [json.loads(line)["__dj__stats__"] for line in Path(truth["export_path"]).read_text().splitlines()]
    first, _, last = (each["model_score"] for each in of_labels)
    assert first in (pytest.approx(found[0]), pytest.approx(1 - found[0]))
    assert min(first, last) < 0.5 < max(first, last), "the model says the same label of both"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "./absent"}, "no folder"),
        ({"task": "text-clasification"}, "modelscope cannot make a pipeline of"),
        ({"ground_truth_key": "text"}, "no score by text in the result of the pipeline"),
        ({"response_path": "labels"}, "no score by labels in the result of the pipeline"),
        ({"text_key": "body"}, "no sample could be measured"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_gives_no_scores_is_told(
    scores: ComponentProcess, bert: Bert, dataset: Path, settings: dict[str, Any], message: str
) -> None:
    assert message in (scores.run({**config(bert), **settings}, "modelscope", str(dataset)).error or "")
    assert not dataset.with_name("data_measured.jsonl").exists()
