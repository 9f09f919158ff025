"""What runs on a CPU runs on a GPU from the same file. Skipped where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox_actors.system.machine import this_machine
from tests.components.conftest import ComponentProcess, Start
from tests.components.models.training_runs import ENV, TRAINER, Data, curve, train, training, weights

pytestmark = pytest.mark.skipif(not this_machine().gpus, reason="there is no NVIDIA device in /dev")


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_a_model_is_trained_on_the_gpu(trainer: ComponentProcess, data: Data, tmp_path: Path, precision: str) -> None:
    ran = train(trainer, training(data, tmp_path / "model", precision=precision, tokens=32 * 4 * 60))
    assert "parameters on cuda:0" in ran.log
    assert curve(ran)[-1][1] < curve(ran)[0][1] - 0.3


@pytest.mark.parametrize("before", [{"lora": True}, {"precision": "bf16"}, {"precision": "fp16"}])
def test_a_warm_run_on_the_gpu_is_like_a_cold_one(
    start_component: Start, data: Data, tmp_path: Path, before: dict[str, object]
) -> None:
    process = start_component(ENV, TRAINER)
    settings = {"precision": "fp32", "arguments": {"full_determinism": True}}
    cold = train(process, training(data, tmp_path / "cold", **settings))
    train(process, training(data, tmp_path / "other", **{**settings, **before}))
    warm = train(process, training(data, tmp_path / "warm", **settings))
    assert curve(warm) == curve(cold)
    assert weights(tmp_path / "warm") == weights(tmp_path / "cold")


def test_a_model_is_measured_on_the_gpu(
    trainer: ComponentProcess, start_component: Start, data: Data, tmp_path: Path
) -> None:
    config = training(data, tmp_path / "model", precision="fp32", eval_dataset=data.heldout)
    reported = train(trainer, config)
    evaluator = start_component(ENV, "components.evaluators.perplexity:PerplexityEvaluator")
    measured = evaluator.run({"model": reported.result, "dataset_path": data.heldout, "block_size": 32}, "model").result
    (results,) = [res for res, _, step in reported.watched if step is None]
    assert measured["loss"] == pytest.approx(results["eval_loss"], abs=0.05)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["vocab_size"] == 300
