"""The `modelscope` trainer on the real modelscope, with a BERT of random weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.base import Config
from components.models.modelscope_trainer import ModelscopeTrainExecutor
from tests.components.conftest import ComponentProcess, Ran, Start

ENV = "modelscope"
TRAINER = "components.models.modelscope_trainer:ModelscopeTrainExecutor"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "very", "good", "bad"]

MAKE_BERT = """
import sys, torch
from transformers import BertConfig, BertForSequenceClassification
torch.manual_seed(0)
config = BertConfig(
    vocab_size=int(sys.argv[2]), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=32,
)
BertForSequenceClassification(config).save_pretrained(sys.argv[1], safe_serialization=False)
"""

CONFIGURATION: dict[str, Any] = {
    "framework": "pytorch",
    "task": "text-classification",
    "model": {"type": "bert"},
    "preprocessor": {
        "type": "sen-cls-tokenizer",
        "first_sequence": "sentence",
        "label": "label",
        "sequence_length": 32,
    },
    "pipeline": {"type": "text-classification"},
    "train": {
        "max_epochs": 1,
        "dataloader": {"batch_size_per_gpu": 4, "workers_per_gpu": 0},
        "optimizer": {"type": "SGD", "lr": 0.01},
        "lr_scheduler": {"type": "StepLR", "step_size": 2},
    },
    "evaluation": {"dataloader": {"batch_size_per_gpu": 4, "workers_per_gpu": 0, "shuffle": False}},
}


class Bert:
    """A model's folder and a dataset beside it, in Data-Juicer's format."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.model, self.train = folder / "bert", folder / "train.jsonl"
        self.model.mkdir()
        (self.model / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        (self.model / "configuration.json").write_text(json.dumps(CONFIGURATION))
        (self.model / "label_mapping.json").write_text(json.dumps({"0": 0, "1": 1}))
        subprocess.run([python, "-c", MAKE_BERT, str(self.model), str(len(WORDS))], check=True, capture_output=True)
        rows = [
            {"text": f"the film was {('bad', 'good')[i % 2]}", "label": i % 2, "__dj__stats__": {"text_len": i}}
            for i in range(20)
        ]
        self.train.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def config(self, work_dir: Path, **settings: Any) -> dict[str, Any]:
        return {
            "type": "modelscope",
            "model_name": str(self.model),
            "trainer_name": "nlp-base-trainer",
            "train_dataset": str(self.train),
            "work_dir": str(work_dir),
            "key_remapping": {"text": "sentence", "absent": "nothing"},
            "train": {"max_epochs": 2, "hooks": [{"type": "TextLoggerHook", "interval": 1}]},
            **settings,
        }


@pytest.fixture(scope="module")
def bert(component_env: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Bert:
    return Bert(tmp_path_factory.mktemp("bert"), component_env(ENV))


@pytest.fixture(scope="module")
def modelscope(start_component: Start) -> ComponentProcess:
    return start_component(ENV, TRAINER)


def losses(ran: Ran) -> list[tuple[int, float]]:
    return [(step, res["loss"]) for res, _, step in ran.watched if isinstance(res, dict) and "loss" in res]


def test_a_model_in_a_folder_is_trained_and_its_lines_become_metrics(
    modelscope: ComponentProcess, bert: Bert, tmp_path: Path
) -> None:
    files = sorted(path.name for path in bert.model.iterdir())
    ran = modelscope.run(bert.config(tmp_path / "work"), "modelscope")
    assert ran.error is None, ran.log
    assert ran.result == str(tmp_path / "work")
    assert [step for step, _ in losses(ran)] == list(range(1, 11))
    assert losses(ran)[0][1] == pytest.approx(0.69, abs=0.1)
    assert all(res["learning_rate"] == 0.01 for res, _, _ in ran.watched)
    assert (tmp_path / "work" / "output" / "pytorch_model.bin").exists()
    assert sorted(path.name for path in bert.model.iterdir()) == files, "the user's folder has changed"
    assert "retry" not in ran.log


def test_a_warm_run_is_like_the_first_of_a_process(modelscope: ComponentProcess, bert: Bert, tmp_path: Path) -> None:
    runs = [modelscope.run(bert.config(tmp_path / str(seed), seed=seed), "modelscope") for seed in (1, 2, 1)]
    assert losses(runs[0]) == losses(runs[2]) != losses(runs[1])


def test_scores_on_held_out_data_are_metrics_too(modelscope: ComponentProcess, bert: Bert, tmp_path: Path) -> None:
    hooks = [{"type": "EvaluationHook", "interval": 1}, {"type": "TextLoggerHook", "interval": 2}]
    settings = {
        "eval_dataset": str(bert.train),
        "train": {"max_epochs": 2, "hooks": hooks},
        "evaluation": {"metrics": "seq-cls-metric"},
    }
    ran = modelscope.run(bert.config(tmp_path / "work", **settings), "modelscope")
    assert ran.error is None, ran.log
    scores = [(res["accuracy"], step) for res, name, step in ran.watched if name == "eval"]
    assert scores == [(0.5, 5), (0.5, 10)]
    assert [step for step, _ in losses(ran)] == [2, 4, 7, 9]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_name": "./absent"}, "no folder /"),
        ({"train_dataset": "absent.jsonl"}, "cannot read the dataset absent.jsonl: no such file or folder"),
        ({"trainer": "x"}, "trainer: unknown key; did you mean 'train'?"),
        ({"trainer_name": "no-such-trainer"}, "no-such-trainer"),
    ],
)
def test_what_cannot_be_trained_is_told(
    modelscope: ComponentProcess, bert: Bert, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    error = modelscope.run(bert.config(tmp_path / "work", **settings), "modelscope").error
    assert error is not None
    assert message in error


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[Any, str, int | None]] = []

    def watch(self, res: Any, meta_name: str = "", step: int | None = None) -> None:
        self.seen.append((res, meta_name, step))

    def query(self, meta_name: str) -> Any:
        return None


def test_other_lines_with_a_loss_count_as_steps_and_those_without_do_not() -> None:
    recorder = Recorder()
    trainer = ModelscopeTrainExecutor(Config({}), recorder)
    for line in ("starts", "x - epoch [2][5/20]\tlr: 1.000e-03, eta: 0:00:00, memory: 8742, loss: 0.6945", "loss: 0.5"):
        trainer._watch_run(line)
    assert recorder.seen == [({"learning_rate": 0.001, "loss": 0.6945}, "", 25), (0.5, "loss", 1)]
