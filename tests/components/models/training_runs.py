"""A tiny model, real text to train it on, and what is read off a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.corpus import paragraphs, split

if TYPE_CHECKING:
    from tests.components.conftest import ComponentProcess, Ran, Start

ENV = "transformers"
TRAINER = "components.models.transformers_trainer:TransformersTrainExecutor"
VOCABULARY = 300
BLOCK, BATCH, STEPS = 32, 4, 12


class Data:
    """Datasets of real text, and a tokenizer trained on the first."""

    def __init__(self, folder: Path, start_component: Start) -> None:
        samples, heldout = split(list(paragraphs()), 2500, 60, seed=1)
        self.train = self._write(folder / "train.jsonl", [each.text for each in samples[:200]])
        self.other = self._write(folder / "other.jsonl", [each.text for each in samples[200:400]])
        self.large = self._write(folder / "large.jsonl", [each.text for each in samples])
        self.heldout = self._write(folder / "heldout.jsonl", [each.text for each in heldout])
        tokenizing = start_component(ENV, "components.models.tokenizer:TokenizerTraining")
        config = {"dataset_path": self.train, "export_path": str(folder / "tokenizer"), "vocab_size": VOCABULARY}
        self.ran = tokenizing.run(config)
        self.tokenizer: str = self.ran.result

    @staticmethod
    def _write(path: Path, texts: list[str]) -> str:
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return str(path)


def training(data: Data, output: Path, **settings: Any) -> dict[str, Any]:
    return {
        "type": "transformers",
        "model": {
            "model_type": "gpt2",
            "vocab_size": VOCABULARY,
            "n_positions": BLOCK,
            "n_embd": 32,
            "n_layer": 1,
            "n_head": 2,
        },
        "tokenizer": data.tokenizer,
        "train_dataset": data.train,
        "output_dir": str(output),
        "tokens": BLOCK * BATCH * STEPS,
        "block_size": BLOCK,
        "batch_size": BATCH,
        "learning_rate": 0.01,
        **settings,
    }


def train(process: ComponentProcess, config: dict[str, Any]) -> Ran:
    ran = process.run(config, "transformers")
    assert ran.error is None, ran.log
    return ran


def curve(ran: Ran) -> list[tuple[int, float, float]]:
    """Step, loss and gradient norm of every logged step, to the last bit."""
    return [(step, res["loss"], res["grad_norm"]) for res, _, step in ran.watched if step is not None and "loss" in res]


def series(ran: Ran, name: str) -> list[tuple[int, float]]:
    return [(step, res[name]) for res, _, step in ran.watched if step is not None and name in res]


def results(ran: Ran) -> dict[str, Any]:
    (found,) = [res for res, _, step in ran.watched if step is None]
    return dict(found)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()
