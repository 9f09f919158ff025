"""Tokenizer, trainer and evaluator on the real transformers, in warm processes as workers are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from components.data.corpus import paragraphs, split
from tests.components.conftest import ComponentProcess, Ran, Start

ENV = "transformers"
VOCABULARY = 300
BLOCK, BATCH, STEPS = 32, 4, 12
SETTLING, RUNS = 4, 6


@pytest.fixture(scope="session")
def trainer(start_component: Start) -> ComponentProcess:
    return start_component(ENV, "components.models.transformers_trainer:TransformersTrainExecutor")


@pytest.fixture(scope="session")
def evaluator(start_component: Start) -> ComponentProcess:
    return start_component(ENV, "components.evaluators.perplexity:PerplexityEvaluator")


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


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, start_component: Start) -> Data:
    return Data(tmp_path_factory.mktemp("data"), start_component)


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
    return [(step, res["loss"], res["grad_norm"]) for res, _, step in ran.watched if step is not None]


def results(ran: Ran) -> dict[str, Any]:
    (found,) = [res for res, _, step in ran.watched if step is None]
    return dict(found)


def test_the_tokenizer_has_the_size_asked_for_and_loads_without_its_texts(data: Data) -> None:
    vocabulary = json.loads((Path(data.tokenizer) / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(vocabulary) == VOCABULARY
    assert vocabulary["<|endoftext|>"] == 0
    assert f"{VOCABULARY} tokens learnt from 200 texts" in data.ran.log


def test_the_loss_of_every_step_is_watched_and_falls(trainer: ComponentProcess, data: Data, tmp_path: Path) -> None:
    ran = train(trainer, training(data, tmp_path / "model"))
    losses = curve(ran)
    assert [step for step, _, _ in losses] == list(range(1, STEPS + 1))
    assert losses[0][1] == pytest.approx(math.log(VOCABULARY), abs=0.3)
    assert losses[-1][1] < losses[0][1] - 0.3
    rates = [res["learning_rate"] for res, _, step in ran.watched if step is not None]
    assert rates == sorted(rates, reverse=True)
    assert results(ran) == {"samples": 200, "tokens": BLOCK * BATCH * STEPS, "final_loss": losses[-1][1]}
    assert f"training: 100%|██████████| {STEPS}/{STEPS}" in ran.log


def test_a_warm_run_gives_bit_for_bit_what_a_cold_one_gives(
    trainer: ComponentProcess, start_component: Start, data: Data, tmp_path: Path
) -> None:
    dropout = {"model": {**training(data, tmp_path)["model"], "resid_pdrop": 0.1}}
    cold_process = start_component(ENV, "components.models.transformers_trainer:TransformersTrainExecutor")
    cold = train(cold_process, training(data, tmp_path / "cold", **dropout))
    other = train(cold_process, training(data, tmp_path / "other", **dropout, train_dataset=data.other))
    warm = train(cold_process, training(data, tmp_path / "warm", **dropout))
    assert curve(warm) == curve(cold)
    assert curve(other) != curve(cold)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("cold", "warm", "other")]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_another_seed_gives_another_order_of_the_data(trainer: ComponentProcess, data: Data, tmp_path: Path) -> None:
    curves = [curve(train(trainer, training(data, tmp_path / str(seed), seed=seed))) for seed in (1, 2)]
    assert curves[0] != curves[1]


def test_short_data_are_gone_through_again_until_the_tokens_are_reached(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    tokens = 100 * BLOCK * BATCH + 1
    ran = train(trainer, training(data, tmp_path / "model", train_dataset=data.heldout, tokens=tokens))
    assert results(ran)["tokens"] == 101 * BLOCK * BATCH


def test_arguments_of_the_trainer_are_passed_on(trainer: ComponentProcess, data: Data, tmp_path: Path) -> None:
    arguments = {"gradient_accumulation_steps": 2, "logging_steps": 3, "warmup_steps": 3}
    ran = train(trainer, training(data, tmp_path / "model", arguments=arguments))
    assert [step for step, _, _ in curve(ran)] == [3, 6]
    assert results(ran)["tokens"] == BLOCK * BATCH * STEPS
    ran = train(trainer, training(data, tmp_path / "model", arguments={"max_steps": 2}))
    assert results(ran)["tokens"] == BLOCK * BATCH * 2


def test_a_model_is_trained_further_from_a_folder(
    trainer: ComponentProcess, start_component: Start, data: Data, tmp_path: Path
) -> None:
    first = train(trainer, training(data, tmp_path / "first"))
    cold_process = start_component(ENV, "components.models.transformers_trainer:TransformersTrainExecutor")
    second = train(cold_process, training(data, tmp_path / "second", model=first.result))
    assert curve(second)[0][1] < curve(first)[0][1] - 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_dataset": "absent.jsonl"}, "ComponentFailed: cannot read the dataset absent.jsonl"),
        ({"batch_size": 100_000}, "which is less than one step takes: 100000 blocks of 32"),
    ],
)
def test_what_cannot_be_trained_on_is_told_and_the_process_goes_on(
    trainer: ComponentProcess, data: Data, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    failed = trainer.run(training(data, tmp_path / "model", **settings), "transformers")
    assert message in (failed.error or "")
    train(trainer, training(data, tmp_path / "model"))


def test_a_tokenizer_larger_than_the_model_is_refused(
    trainer: ComponentProcess, start_component: Start, data: Data, tmp_path: Path
) -> None:
    tokenizing = start_component(ENV, "components.models.tokenizer:TokenizerTraining")
    larger = {"dataset_path": data.train, "export_path": str(tmp_path / "larger"), "vocab_size": VOCABULARY + 1}
    tokenizer = tokenizing.run(larger).result
    refused = trainer.run(training(data, tmp_path / "model", tokenizer=tokenizer), "transformers")
    assert refused.error == "ConfigError: trainer: model.vocab_size: the tokenizer has 301 tokens, the model only 300"


def test_runs_on_end_do_not_grow(
    trainer: ComponentProcess, evaluator: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    config = training(data, tmp_path / "model", train_dataset=data.large)
    evaluation = {"model": str(tmp_path / "model"), "dataset_path": data.large}
    settled = (0, 0)
    for run in range(SETTLING + RUNS):
        rss = train(trainer, config).rss, evaluator.run(evaluation, "model").rss
        settled = rss if run == SETTLING - 1 else settled
    assert rss[0] - settled[0] < 8_000_000
    assert rss[1] - settled[1] < 8_000_000


def test_perplexity_is_that_of_the_text_under_the_model(
    trainer: ComponentProcess, evaluator: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    untrained = train(trainer, training(data, tmp_path / "untrained", learning_rate=0.0)).result
    trained = train(trainer, training(data, tmp_path / "trained")).result
    before, after = (
        evaluator.run({"model": model, "dataset_path": data.heldout}, "model").result for model in (untrained, trained)
    )
    assert before["loss"] == pytest.approx(math.log(VOCABULARY), abs=0.3)
    assert after["loss"] < before["loss"] - 0.3
    for result in (before, after):
        assert result["perplexity"] == pytest.approx(math.exp(result["loss"]))
    in_bytes = sum(len(json.loads(line)["text"].encode()) for line in Path(data.heldout).read_text().splitlines())
    assert after["bits_per_byte"] == pytest.approx(after["loss"] * after["tokens"] / math.log(2) / in_bytes, rel=0.1)


def test_what_is_no_model_is_told(evaluator: ComponentProcess, data: Data, tmp_path: Path) -> None:
    error = evaluator.run({"model": str(tmp_path), "dataset_path": data.heldout}, "model").error
    assert error is not None
    assert error.startswith(f"ComponentFailed: cannot load a tokenizer from {tmp_path}")
