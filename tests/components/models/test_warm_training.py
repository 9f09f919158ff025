"""A warm run gives bit for bit what a cold one gives, whatever ran in the process before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.components.conftest import ComponentProcess, Ran, Start
from tests.components.models.training_runs import ENV, TRAINER, Data, curve, train, training, weights


class Cold:
    """The first run of a process, with dropout, so that each random state counts; and the process."""

    def __init__(self, process: ComponentProcess, data: Data, folder: Path) -> None:
        self.process, self.data, self.folder = process, data, folder
        self.settings = {"model": {**training(data, folder)["model"], "resid_pdrop": 0.1}}
        self.curve = curve(self.run())
        self.weights = weights(folder)

    def run(self, **settings: Any) -> Ran:
        return train(self.process, training(self.data, self.folder, **{**self.settings, **settings}))


@pytest.fixture(scope="module")
def cold(start_component: Start, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Cold:
    return Cold(start_component(ENV, TRAINER), data, tmp_path_factory.mktemp("cold"))


@pytest.mark.parametrize(
    "before",
    [
        {"learning_rate": 0.02},
        {"precision": "bf16"},
        {"lora": True},
        {"lora": {"r": 2, "target_modules": ["c_attn"]}, "precision": "bf16"},
        {"arguments": {"full_determinism": True, "gradient_checkpointing": True, "neftune_noise_alpha": 5}},
        {"model": {"model_type": "gpt2", "vocab_size": 300, "n_embd": 8, "n_layer": 2, "n_head": 2}},
    ],
    ids=["same", "bf16", "lora", "lora in bf16", "switches", "another model"],
)
def test_a_run_after_another_is_like_the_first_of_a_process(cold: Cold, before: dict[str, Any]) -> None:
    other = cold.run(train_dataset=cold.data.other, output_dir=str(cold.folder / "other"), **before)
    assert curve(other) != cold.curve
    assert curve(cold.run()) == cold.curve
    assert weights(cold.folder) == cold.weights


@pytest.mark.parametrize("lora", [False, True])
def test_a_run_after_a_failed_one_is_like_the_first_of_a_process(cold: Cold, tmp_path: Path, lora: bool) -> None:
    if lora:
        (tmp_path / "adapter").touch()  # where a folder has to go
    else:
        (tmp_path / "model.safetensors").mkdir()
    config = training(cold.data, tmp_path, **cold.settings, lora=lora)
    failed = cold.process.run(config, "transformers")
    assert failed.error is not None
    assert '"step": 12' in failed.log, "it has to fail after training, when it saves"
    assert curve(cold.run()) == cold.curve
    assert weights(cold.folder) == cold.weights


def test_a_warm_run_with_an_adapter_is_like_a_cold_one(cold: Cold, start_component: Start, tmp_path: Path) -> None:
    warm = cold.run(lora=True, output_dir=str(tmp_path / "warm"))
    fresh = start_component(ENV, TRAINER)
    first = train(fresh, training(cold.data, tmp_path / "first", **cold.settings, lora=True))
    assert curve(warm) == curve(first)
    assert weights(tmp_path / "warm") == weights(tmp_path / "first")


def test_a_model_that_was_written_anew_under_its_old_path_is_loaded_anew(cold: Cold, tmp_path: Path) -> None:
    folder = str(tmp_path / "model")
    cold.run(output_dir=folder)
    untrained = cold.run(model=folder, learning_rate=0, output_dir=str(tmp_path / "next"))
    cold.run(output_dir=folder, seed=7)
    other = cold.run(model=folder, learning_rate=0, output_dir=str(tmp_path / "next"))
    assert curve(other) != curve(untrained)
