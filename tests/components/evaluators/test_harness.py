"""The `lm_eval` evaluator: the real lm-evaluation-harness, a task of the test's own, tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.evaluators.harness import flat
from tests.components.conftest import ComponentProcess, Start
from tests.components.models.training_runs import Data, train, training

TASK = """
task: next_word
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - metric: acc
"""
QUESTION = "Return the"


@pytest.fixture(scope="module")
def harness(start_component: Start) -> ComponentProcess:
    return start_component("lm-eval", "components.evaluators.harness:HarnessEvaluator")


@pytest.fixture(scope="module")
def models(trainer: ComponentProcess, data: Data, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Models that have learnt nothing but what follows the question: one `a`, the other `b`."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("a", "b"):
        text = json.dumps({"text": f"{QUESTION} {name * 3}"})
        (folder / f"{name}.jsonl").write_text(f"{text}\n" * 200)
        train(trainer, training(data, folder / name, train_dataset=str(folder / f"{name}.jsonl"), learning_rate=0.05))
    return {name: str(folder / name) for name in ("a", "b")}


@pytest.fixture
def tasks(tmp_path: Path) -> str:
    rows = [{"question": QUESTION, "choices": [" bbb", " aaa"], "answer": 1}] * 5
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "next_word.yaml").write_text(TASK.format(data=tmp_path / "rows.jsonl"))
    return str(tmp_path / "tasks")


def test_models_are_measured_by_a_task_of_ones_own(
    harness: ComponentProcess, models: dict[str, str], tasks: str
) -> None:
    scores = {}
    for name, model in models.items():
        ran = harness.run({"type": "lm_eval", "model": model, "tasks": "next_word", "include_path": tasks}, "model")
        assert ran.error is None, ran.log
        scores[name] = ran.result
    assert scores["a"] == {"next_word.acc": 1.0, "next_word.acc_stderr": 0.0, "next_word.samples": 5.0}
    assert scores["b"]["next_word.acc"] == 0.0


def test_data_written_anew_under_their_old_path_are_read_anew(
    harness: ComponentProcess, models: dict[str, str], tasks: str, tmp_path: Path
) -> None:
    config = {"model": models["a"], "tasks": ["next_word"], "include_path": [tasks], "limit": 3}
    before = harness.run(config, "model").result
    rows = tmp_path / "rows.jsonl"
    rows.write_text(rows.read_text().replace('"answer": 1', '"answer": 0'))
    after = harness.run(config, "model").result
    assert (before["next_word.acc"], after["next_word.acc"]) == (1.0, 0.0)
    assert before["next_word.samples"] == 3


def test_a_model_that_is_measured_again_stays_loaded(
    harness: ComponentProcess, models: dict[str, str], tasks: str
) -> None:
    config = {"model": models["a"], "tasks": "next_word", "include_path": tasks}
    logs = [harness.run({**config, "model": models[name]}, "model").log for name in ("b", "a", "a")]
    assert ["Loading weights" in log for log in logs] == [True, True, False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"tasks": "next_wrod"},
            "the lm_eval evaluator: tasks: no task 'next_wrod'; known: next_word",
        ),
        ({"include_path": "/absent"}, "include_path: no folder /absent"),
        ({"model": "/absent"}, "no folder /absent"),
        ({"num_shots": 3}, "num_shots: unknown key; did you mean 'num_fewshot'?"),
    ],
)
def test_what_cannot_be_measured_is_told(
    harness: ComponentProcess, models: dict[str, str], tasks: str, settings: dict[str, Any], message: str
) -> None:
    config = {"model": models["a"], "tasks": "next_word", "include_path": tasks, **settings}
    assert message in (harness.run(config, "model").error or "")


def test_numbers_are_named_by_task_metric_and_filter() -> None:
    results = {"qa": {"alias": "qa", "exact_match,strict": 0.5, "acc,none": 1, "acc_stderr,none": "N/A"}}
    assert flat(results) == {"qa.exact_match.strict": 0.5, "qa.acc": 1.0}
