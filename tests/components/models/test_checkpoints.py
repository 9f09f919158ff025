"""Checkpoints: which run continues from which, with the same result as an uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from components.models.checkpoints import Checkpoints
from sandbox_actors.errors import ComponentFailed
from tests.components.conftest import ComponentProcess, Start
from tests.components.models.training_runs import ENV, TRAINER, Data, curve, results, train, training, weights


class Tokens:
    """What stands for a tensor where only its bytes count."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def numpy(self) -> Tokens:
        return self

    def tobytes(self) -> bytes:
        return self._content


def checkpoints(folder: Path, content: bytes = b"data", **identity: Any) -> Checkpoints:
    return Checkpoints(folder, identity, [Tokens(content)])


def write(folder: Path, *steps: int) -> None:
    for step in steps:
        made = folder / "checkpoints" / f"checkpoint-{step}"
        made.mkdir(parents=True)
        (made / "trainer_state.json").write_text(json.dumps({"global_step": step}))


def test_an_interrupted_training_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).begin(resume=True) is None
    write(tmp_path, 5, 10)
    assert checkpoints(tmp_path).begin(resume=True) == str(tmp_path / "checkpoints" / "checkpoint-10")


def test_a_checkpoint_that_was_cut_off_while_it_was_written_is_passed_over(tmp_path: Path) -> None:
    checkpoints(tmp_path).begin(resume=True)
    write(tmp_path, 5, 10)
    (tmp_path / "checkpoints" / "checkpoint-10" / "trainer_state.json").write_text('{"global_')
    assert checkpoints(tmp_path).begin(resume=True) == str(tmp_path / "checkpoints" / "checkpoint-5")


@pytest.mark.parametrize("other", [{"content": b"other data"}, {"lr": 2}, {"resume": False}, {"finished": True}])
def test_another_training_or_a_finished_one_begins_anew_without_old_checkpoints(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    resume, is_finished = other.pop("resume", True), other.pop("finished", False)
    first = checkpoints(tmp_path)
    first.begin(resume=True)
    write(tmp_path, 5)
    if is_finished:
        first.end()
    assert checkpoints(tmp_path, **other).begin(resume=resume) is None
    assert not (tmp_path / "checkpoints" / "checkpoint-5").exists()


def test_a_checkpoint_is_gone_on_from_by_its_path(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", 3)
    named = str(tmp_path / "elsewhere" / "checkpoints" / "checkpoint-3")
    assert checkpoints(tmp_path).begin(resume=named) == named
    with pytest.raises(ComponentFailed, match="is not a checkpoint"):
        checkpoints(tmp_path).begin(resume=str(tmp_path))


def test_a_training_that_was_killed_ends_as_if_it_had_not_been(
    trainer: ComponentProcess, start_component: Start, data: Data, tmp_path: Path
) -> None:
    settings = {"tokens": None, "max_steps": 150, "save_steps": 50, "arguments": {"optim": "adamw_torch"}}
    settings["model"] = {**training(data, tmp_path)["model"], "resid_pdrop": 0.1}
    whole = train(trainer, training(data, tmp_path / "whole", **settings))
    config = training(data, tmp_path / "model", **settings)
    doomed = start_component(ENV, TRAINER)
    doomed.send(config, "transformers")
    kill_when_there(doomed.pid, tmp_path / "model" / "checkpoints" / "checkpoint-50" / "trainer_state.json")
    assert not (tmp_path / "model" / "model.safetensors").exists(), "it had come to its end before it was killed"
    ran = train(trainer, config)
    first = curve(ran)[0][0]
    assert first in (51, 101)
    assert curve(ran) == curve(whole)[first - 1 :]
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")
    assert results(ran)["final_loss"] == results(whole)["final_loss"]
    assert results(ran)["tokens"] == results(whole)["tokens"]
    assert curve(train(trainer, config)) == curve(whole), "a finished training is done again from its beginning"


def kill_when_there(pid: int, path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was never written"
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
