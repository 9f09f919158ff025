"""Tokenizer, trainer and evaluator on the real transformers, in warm processes as workers are."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from sandbox_actors.system.machine import this_machine
from tests.components.conftest import ComponentProcess, Start
from tests.components.models.training_runs import (
    BATCH,
    BLOCK,
    ENV,
    STEPS,
    VOCABULARY,
    Data,
    curve,
    results,
    series,
    train,
    training,
)

SETTLING = 4
RUNS = int(os.environ.get("SANDBOX_TEST_RUNS", "6"))
"""After those: 50 are what the figures are about, a few what a suite has time for."""

GROWTH = 8_000_000 + 100_000 * RUNS
"""Bytes. What the C library allocates settles over some twenty runs; a leak of the data or the model would be more."""


@pytest.fixture(scope="session")
def evaluator(start_component: Start) -> ComponentProcess:
    return start_component(ENV, "components.evaluators.perplexity:PerplexityEvaluator")


def test_the_tokenizer_has_the_size_asked_for_and_loads_without_its_texts(data: Data) -> None:
    vocabulary = json.loads((Path(data.tokenizer) / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(vocabulary) == VOCABULARY
    assert vocabulary["<|endoftext|>"] == 0
    assert f"{VOCABULARY} tokens learned from 200 texts" in data.ran.log


def test_the_loss_of_every_step_is_watched_and_falls(trainer: ComponentProcess, data: Data, tmp_path: Path) -> None:
    ran = train(trainer, training(data, tmp_path / "model"))
    losses = curve(ran)
    assert [step for step, _, _ in losses] == list(range(1, STEPS + 1))
    assert losses[0][1] == pytest.approx(math.log(VOCABULARY), abs=0.3)
    assert losses[-1][1] < losses[0][1] - 0.3
    rates = [res["learning_rate"] for res, _, step in ran.watched if step is not None]
    assert rates == sorted(rates, reverse=True)
    reported = results(ran)
    assert reported.pop("train_seconds") > 0
    assert reported.pop("trained_parameters") > VOCABULARY * 32
    assert reported == {"samples": 200, "tokens": BLOCK * BATCH * STEPS, "final_loss": losses[-1][1]}
    assert [step for step, rate in series(ran, "tokens_per_second") if rate > 0] == list(range(1, STEPS + 1))
    for (_, tokens), (_, samples) in zip(
        series(ran, "tokens_per_second"), series(ran, "samples_per_second"), strict=True
    ):
        assert tokens == pytest.approx(samples * BLOCK, rel=0.01)
    assert f"training: 100%|██████████| {STEPS}/{STEPS}" in ran.log


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
    ran = train(trainer, training(data, tmp_path / "model", arguments={"max_steps": 2, "adam_beta1": 0.5}))
    assert results(ran)["tokens"] == BLOCK * BATCH * 2
    usual = train(trainer, training(data, tmp_path / "model", arguments={"max_steps": 2}))
    assert curve(usual) == curve(ran)[:1] + curve(usual)[1:]


def test_a_model_is_trained_further_from_a_folder_with_the_tokenizer_in_it(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    first = train(trainer, training(data, tmp_path / "first"))
    second = train(trainer, training(data, tmp_path / "second", model=first.result, tokenizer=None))
    assert curve(second)[0][1] < curve(first)[0][1] - 0.3


def test_accumulated_gradients_make_a_step_of_several_batches(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    settings = {
        "gradient_accumulation_steps": 2,
        "logging_steps": 3,
        "warmup_steps": 3,
        "lr_scheduler_type": "constant",
    }
    ran = train(trainer, training(data, tmp_path / "model", **settings))
    assert [step for step, _, _ in curve(ran)] == [3, 6]
    assert results(ran)["tokens"] == BLOCK * BATCH * STEPS


def test_a_schedule_with_warmup_sets_the_learning_rate_of_each_step(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    settings = {"max_steps": 6, "tokens": None, "warmup_steps": 2, "lr_scheduler_type": "constant_with_warmup"}
    ran = train(trainer, training(data, tmp_path / "model", **settings))
    assert [rate for _, rate in series(ran, "learning_rate")] == [0, 0.005, 0.01, 0.01, 0.01, 0.01]


def test_the_loss_on_held_out_data_is_told_on_the_way_and_at_the_end(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    ran = train(trainer, training(data, tmp_path / "model", eval_dataset=data.heldout, eval_steps=4))
    reported = series(ran, "eval_loss")
    assert [step for step, _ in reported] == [4, 8, 12, 12]
    assert reported[-1][1] == results(ran)["eval_loss"] < reported[0][1] - 0.1
    assert curve(ran) == curve(train(trainer, training(data, tmp_path / "model")))


def test_without_packing_every_text_is_a_sequence_and_padding_is_not_trained_on(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    ran = train(trainer, training(data, tmp_path / "model", packing=False, tokens=None, epochs=1, learning_rate=0))
    assert curve(ran)[-1][0] == 200 / BATCH
    texts = [json.loads(line)["text"] for line in Path(data.train).read_text().splitlines()]
    at_most = sum(min(len(text.encode()) + 1, BLOCK) for text in texts)
    assert 200 * 2 < results(ran)["tokens"] <= at_most
    assert [loss for _, loss, _ in curve(ran)] == pytest.approx([math.log(VOCABULARY)] * 50, abs=0.3)


def test_a_folder_of_shards_is_trained_on_like_the_file_they_were(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    lines = Path(data.train).read_text().splitlines(keepends=True)
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "train-00-of-02.jsonl").write_text("".join(lines[:50]))
    with gzip.open(shards / "train-01-of-02.jsonl.gz", "wt") as stream:
        stream.write("".join(lines[50:]))
    runs = [training(data, tmp_path / "model", train_dataset=each) for each in (data.train, str(shards))]
    assert curve(train(trainer, runs[0])) == curve(train(trainer, runs[1]))


def test_half_precision_is_used_where_it_is_asked_for_and_refused_where_it_is_not_there(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    full, half = (train(trainer, training(data, tmp_path / "model", precision=each)) for each in ("fp32", "bf16"))
    assert curve(half) != curve(full)
    assert [loss for _, loss, _ in curve(half)] == pytest.approx([loss for _, loss, _ in curve(full)], rel=0.02)
    if not this_machine().gpus:
        refused = trainer.run(training(data, tmp_path / "model", precision="fp16"), "transformers")
        assert refused.error == (
            "ConfigError: the transformers trainer: precision: fp16 needs a GPU; use fp32, bf16 or auto"
        )


def test_a_model_that_is_nowhere_is_told_with_all_places_where_it_was_looked_for(
    trainer: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    error = trainer.run(training(data, tmp_path, model="someone/no-such-model"), "transformers").error or ""
    assert error.startswith("ComponentFailed: no model 'someone/no-such-model': not a folder /")
    assert "the cache" in error
    assert "Put the model's folder" in error
    absent = tmp_path / "absent"
    error = trainer.run(training(data, tmp_path, model=str(absent)), "transformers").error or ""
    assert error == f"ComponentFailed: no folder {absent}: a model's folder contains config.json and weights"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_dataset": "absent.jsonl"}, "ComponentFailed: cannot read the dataset absent.jsonl"),
        ({"model": {"model_type": "gtp2"}}, "ConfigError: the model: model: transformers cannot make this model"),
        ({"lr_scheduler_type": "linaer"}, "ConfigError: the transformers trainer: transformers refuses the settings"),
        ({"arguments": {"adam_beta_1": 1}}, "arguments.adam_beta_1: unknown key; did you mean 'adam_beta1'?"),
        ({"batch_size": 100_000}, "fewer than one step needs: 100000 blocks of 32"),
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
    assert refused.error == (
        "ConfigError: the transformers trainer: model.vocab_size: the tokenizer has 301 tokens, the model only 300"
    )


def test_runs_on_end_do_not_grow(
    trainer: ComponentProcess, evaluator: ComponentProcess, data: Data, tmp_path: Path
) -> None:
    config = training(data, tmp_path / "model", train_dataset=data.large)
    evaluation = {"model": str(tmp_path / "model"), "dataset_path": data.large}
    settled = (0, 0)
    for run in range(SETTLING + RUNS):
        rss = train(trainer, config).rss, evaluator.run(evaluation, "model").rss
        settled = rss if run == SETTLING - 1 else settled
    assert rss[0] - settled[0] < GROWTH
    assert rss[1] - settled[1] < GROWTH


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
