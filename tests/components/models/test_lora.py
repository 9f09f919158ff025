"""LoRA by the real peft."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.components.conftest import ComponentProcess, Start
from tests.components.models.training_runs import ENV, Data, curve, results, series, train, training


def test_an_adapter_is_trained_and_merged_into_the_model_that_is_returned(
    trainer: ComponentProcess, start_component: Start, data: Data, tmp_path: Path
) -> None:
    base = train(trainer, training(data, tmp_path / "base")).result
    settings = {"model": base, "tokenizer": None, "lora": {"r": 4, "lora_dropout": 0.1}, "eval_dataset": data.heldout}
    settings |= {"tokens": None, "max_steps": 60}
    ran = train(trainer, training(data, tmp_path / "tuned", **settings))
    assert curve(ran)[-1][0] == 60
    parameters = results(ran)["trained_parameters"]
    assert 0 < parameters < 300 * 32
    adapter = tmp_path / "tuned" / "adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    evaluator = start_component(ENV, "components.evaluators.perplexity:PerplexityEvaluator")
    config = {"dataset_path": data.heldout, "block_size": 32}
    losses = [evaluator.run({"model": model, **config}, "model").result["loss"] for model in (base, ran.result)]
    assert losses[1] < losses[0]
    assert losses[1] == pytest.approx(results(ran)["eval_loss"], abs=0.05)
    assert series(ran, "eval_loss")[-1][1] == results(ran)["eval_loss"]


def test_what_peft_does_not_know_is_refused_with_the_nearest_name(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    error = trainer.run(training(data, tmp_path, lora={"rank": 4, "lora_alfa": 2}), "transformers").error
    assert error is not None
    assert "lora.lora_alfa: unknown key; did you mean 'lora_alpha'?" in error
    error = trainer.run(training(data, tmp_path, lora={"target_modules": ["no_such_layer"]}), "transformers").error
    assert "lora: peft refuses it: Target modules" in (error or "")
