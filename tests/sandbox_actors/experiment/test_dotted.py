"""Values put into configs and found in them by dotted keys."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox_actors.dotted import find, put
from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.job_configs import is_placeholder, with_iteration

CONFIG: dict[str, Any] = {"train": {"lr": 1, "betas": [0.9, 0.99]}, "eval.loss": {"a": 2}, "eval": {}, "none": None}


@pytest.mark.parametrize(
    ("key", "value"),
    [("train.lr", 1), ("train.betas.1", 0.99), ("train.betas.-1", 0.99), ("eval.loss.a", 2), ("none", None)],
)
def test_a_dotted_key_finds_nested_values_list_elements_and_keys_with_dots(key: str, value: Any) -> None:
    assert find(CONFIG, key.split(".")) == value


@pytest.mark.parametrize("key", ["train.rate", "train.betas.2", "train.betas.x", "train.lr.x", "none.x", "eval.x"])
def test_a_key_that_finds_nothing_says_what_is_there(key: str) -> None:
    with pytest.raises(ContextError, match=f"no {key.split('.')[-1]!r}"):
        find(CONFIG, key.split("."))


@pytest.mark.parametrize(
    "key", ["train.lr", "train.betas.0", "eval.loss.a", "new.deep.key", "none.x", "train.betas.-1"]
)
def test_what_is_put_is_found_again_and_the_original_is_left_alone(key: str) -> None:
    before = repr(CONFIG)
    changed = put(CONFIG, key.split("."), "new")
    assert find(changed, key.split(".")) == "new"
    assert repr(CONFIG) == before


def test_a_config_that_is_not_there_is_made_and_one_can_be_replaced_whole() -> None:
    assert put(None, ["a", "b"], 1) == {"a": {"b": 1}}
    assert put({"a": 1}, [], {"b": 2}) == {"b": 2}


@pytest.mark.parametrize("key", ["train.lr.x", "train.betas.2", "train.betas.x"])
def test_what_can_hold_no_keys_refuses_them(key: str) -> None:
    with pytest.raises(ContextError):
        put(CONFIG, key.split("."), 1)


@pytest.mark.parametrize(
    ("path", "with_folder"),
    [
        ("./out/data.jsonl", "./out/iter_3/data.jsonl"),
        ("data.jsonl", "iter_3/data.jsonl"),
        ("./out/pools", "./out/pools/iter_3"),
        ("./out/pools/", "./out/pools/iter_3"),
        ("/out/v1.2/pools", "/out/v1.2/pools/iter_3"),
        ("./out/.hidden", "./out/.hidden/iter_3"),
        (["a.jsonl", "b"], ["iter_3/a.jsonl", "b/iter_3"]),
    ],
)
def test_an_export_path_gets_the_folder_of_the_iteration(path: Any, with_folder: Any) -> None:
    assert with_iteration({"export_path": path, "work_dir": "w"}, 3) == {"export_path": with_folder, "work_dir": "w"}


@pytest.mark.parametrize("config", [{}, {"export_path": None}, {"export_path": ""}, {"train": {"export_path": "a"}}])
def test_a_config_without_export_path_stays_as_it_is(config: dict[str, Any]) -> None:
    assert with_iteration(config, 3) == config


def test_placeholders_are_told_from_values() -> None:
    assert is_placeholder("<replaced_by_the_input>")
    assert not any(is_placeholder(each) for each in ("<home>/data.jsonl", "a", "", None, 3, ["<x>"]))
