from __future__ import annotations

import asyncio
import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from components.base import BaseDataPoolManipulator, BaseEvaluator, BaseModelExecutor, Component, Config
from sandbox_actors.errors import ComponentFailed


def nested() -> Config:
    return Config({"type": "x", "train": {"lr": 1, "stages": [{"steps": 2}]}})


def test_a_config_is_read_by_attribute_by_item_and_by_get() -> None:
    config = nested()
    assert config.train.lr == config["train"]["lr"] == config.get("train", {}).get("lr") == 1
    assert config.train.stages[0].steps == 2
    assert config.get("absent") is None
    assert config.get("absent", 3) == 3


def test_an_absent_attribute_names_the_keys_there_are() -> None:
    with pytest.raises(AttributeError, match=r"no key 'lr'; it has type, train"):
        _ = nested().lr
    with pytest.raises(KeyError):
        _ = nested()["lr"]
    assert not hasattr(nested(), "lr")


def test_what_is_put_into_a_config_later_can_be_read_by_attribute_too() -> None:
    config = nested()
    config.model = {"size": 1}
    config["data"] = [{"path": "a"}]
    config.update({"more": {"x": 1}}, other={"y": 2})
    assert config.setdefault("late", {"z": 3}).z == 3
    assert (config.model.size, config.data[0].path, config.more.x, config.other.y) == (1, "a", 1, 2)
    assert (config | {"joined": {"k": 4}}).joined.k == 4
    del config.model
    assert "model" not in config


def test_a_config_becomes_plain_dicts_again() -> None:
    plain = nested().as_dict()
    assert plain == {"type": "x", "train": {"lr": 1, "stages": [{"steps": 2}]}}
    assert type(plain["train"]) is dict
    assert type(plain["train"]["stages"][0]) is dict
    assert json.loads(json.dumps(nested())) == plain


@pytest.mark.parametrize("copied", [Config.clone, Config.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_share_nothing_and_stay_configs(copied: Any) -> None:
    config = nested()
    other = copied(config)
    other.train.stages[0].steps = 5
    assert config.train.stages[0].steps == 2
    assert isinstance(other.train.stages[0], Config)


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[Any, str, int | None]] = []

    def watch(self, res: Any, meta_name: str = "", step: int | None = None) -> None:
        self.seen.append((res, meta_name, step))

    def query(self, meta_name: str) -> Any:
        return None


class Trainer(BaseModelExecutor):
    """As one writes them for Data-Juicer Sandbox."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        return f"{run_type} {run_obj} {kwargs} {self.model_config.train.lr}"

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if "loss" in line and self.watcher is not None:
            self.watcher.watch(float(line.split()[-1]), "loss")


def test_running_an_executor_is_running_its_run_method() -> None:
    assert asyncio.run(Trainer(nested()).run("x", "data", extra=1)) == "x data {'extra': 1} 1"


def test_lines_of_a_log_become_metrics() -> None:
    watcher = Watcher()
    asyncio.run(Trainer(nested(), watcher=watcher).watch_run(["loss: 2.5", "other", "loss: 1.5"]))
    assert watcher.seen == [(2.5, "loss", None), (1.5, "loss", None)]


def test_an_executor_without_a_log_watcher_of_its_own_watches_nothing() -> None:
    watcher = Watcher()
    asyncio.run(BaseModelExecutor(nested(), watcher).watch_run(["loss: 1"]))
    assert watcher.seen == []


@pytest.mark.parametrize(
    "unfinished",
    [
        lambda: asyncio.run(BaseModelExecutor(nested()).run("x")),
        lambda: BaseEvaluator(nested()).run("data"),
        lambda: BaseDataPoolManipulator(nested()).run(),
    ],
)
def test_a_component_without_its_method_says_which(unfinished: Any) -> None:
    with pytest.raises(NotImplementedError, match="must define"):
        unfinished()


def test_a_component_loads_nothing_unless_it_says_so() -> None:
    component = Component()
    assert component.load() is None
    component.loaded = "model"
    component.unload()
    assert component.loaded is None


@pytest.mark.real
def test_a_script_gets_its_arguments_and_writes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.sh").write_text('echo "$1 in $(basename "$PWD")"')
    Trainer(nested()).run_subprocess("train.sh", [3], str(tmp_path))
    assert capfd.readouterr().out == f"3 in {tmp_path.name}\n"


@pytest.mark.real
def test_a_script_that_fails_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text("exit 3")
    with pytest.raises(ComponentFailed, match=r"bash train.sh 1 exited with status 3"):
        Trainer(nested()).run_subprocess("train.sh", [1], str(tmp_path))
    (tmp_path / "train.sh").write_text("kill -9 $$")
    with pytest.raises(ComponentFailed, match="killed by signal 9"):
        Trainer(nested()).run_subprocess("train.sh", [], str(tmp_path))


@pytest.mark.real
def test_a_program_that_is_not_there_is_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ComponentFailed, match="cannot start no-such-shell"):
        Trainer(nested()).run_subprocess("train.sh", [], str(tmp_path), cmd="no-such-shell")
