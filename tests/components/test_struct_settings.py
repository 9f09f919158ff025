"""Configs as Structs: those of the `transformers` trainer."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.base import Config
from components.models.training import WHO, Training
from components.pools.construction import ConstructionSettings
from components.struct_settings import keys_of, misfits, read_settings
from sandbox_actors.errors import ConfigError

LEAST = {"model": "./base", "train_dataset": "a.jsonl", "output_dir": "out"}
RANDOM = {**LEAST, "model": {"model_type": "gpt2"}, "tokenizer": "tokenizer"}


def read(**settings: Any) -> Training:
    return read_settings(Config({"type": "transformers", **LEAST, **settings}), Training, WHO)


def test_a_key_without_a_value_keeps_its_default_and_text_that_is_a_number_is_one() -> None:
    training = read(learning_rate="1e-4", eval_dataset=None, env_name="mine")
    assert (training.learning_rate, training.eval_dataset, training.seed) == (1e-4, "", 42)


def test_the_check_refuses_what_a_job_on_pools_refuses() -> None:
    config = {"type": "data_pool_construction", "dataset_path": "a.jsonl", "export_path": "out", "split_num": "2"}
    assert misfits(config, ConstructionSettings) == [("split_num", "expected `int | null`, got `str`")]
    with pytest.raises(ConfigError, match=r"split_num: expected `int \| null`, got `str`"):
        ConstructionSettings.read(config)


def test_what_it_holds_is_plain() -> None:
    assert type(read(**RANDOM).model) is dict


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rat": 1}, "learning_rat: unknown key; did you mean 'learning_rate'?"),
        ({"lr": 1, "batchsize": 2}, "batchsize: unknown key; did you mean 'batch_size'?"),
        ({"batch_size": 0}, "batch_size: expected `int` >= 1"),
        ({"batch_size": "many"}, "batch_size: expected `int`, got `str`"),
        ({"precision": "fp8"}, "precision: invalid enum value 'fp8'"),
        ({"tokens": 10, "epochs": 1}, "tokens and epochs exclude each other: give one"),
        ({"model": {"n_layer": 1}}, "`model` is a mapping without `model_type`"),
        ({"model": {"model_type": "gpt2"}}, "`tokenizer` is needed: a model with random weights has none"),
        ({"eval_steps": 5}, "`eval_steps` needs an `eval_dataset`"),
        ({"train_dataset": None}, "missing required field `train_dataset`"),
    ],
)
def test_what_does_not_fit_is_refused_by_key(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read(**settings)
    assert all(problem.file == WHO for problem in caught.value.problems)


def test_every_key_of_the_trainer_is_described() -> None:
    described = Training.__doc__ or ""
    assert [key for key in Training.__struct_fields__ if not re.search(rf"\b{key}\b", described)] == []
    assert set(keys_of(Training)) == {*Training.__struct_fields__, "type", "env_name", "env_manager", "env_params"}


def test_a_run_goes_on_from_another_only_if_all_that_counts_is_the_same() -> None:
    assert read(save_total_limit=1).identity == read(save_total_limit=3, output_dir="elsewhere").identity
    assert read(max_steps=5).identity != read(max_steps=6).identity


def test_misfits_are_told_key_by_key_without_what_is_missing_or_unknown() -> None:
    config = {"batch_size": 0, "epochs": "few", "learning_rate": "1e-3", "lora": {"r": 4}, "seed": None, "other": 1}
    assert misfits(config, Training) == [
        ("epochs", "expected `float | null`, got `str`"),
        ("batch_size", "expected `int` >= 1"),
    ]
