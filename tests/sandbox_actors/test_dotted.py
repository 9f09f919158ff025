"""Values found and set in configs by dotted keys."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox_actors.dotted import find, put
from sandbox_actors.errors import ContextError

CONFIG: dict[str, Any] = {"train": {"lr": 1, "betas": [0.9, 0.99]}, "eval.loss": {"a": 2}, "eval": {}, "none": None}


@pytest.mark.parametrize(
    ("key", "value"),
    [("train.lr", 1), ("train.betas.1", 0.99), ("train.betas.-1", 0.99), ("eval.loss.a", 2), ("none", None)],
)
def test_a_dotted_key_finds_nested_values_list_elements_and_keys_with_dots(key: str, value: Any) -> None:
    assert find(CONFIG, key.split(".")) == value


@pytest.mark.parametrize("key", ["train.rate", "train.betas.2", "train.betas.x", "train.lr.x", "none.x", "eval.x"])
def test_a_key_that_finds_nothing_is_an_error_that_says_what_is_there(key: str) -> None:
    with pytest.raises(ContextError, match=f"no {key.split('.')[-1]!r}"):
        find(CONFIG, key.split("."))


@pytest.mark.parametrize(
    "key", ["train.lr", "train.betas.0", "eval.loss.a", "new.deep.key", "none.x", "train.betas.-1"]
)
def test_what_is_put_is_found_again_and_the_original_is_not_changed(key: str) -> None:
    before = repr(CONFIG)
    changed = put(CONFIG, key.split("."), "new")
    assert find(changed, key.split(".")) == "new"
    assert repr(CONFIG) == before


def test_a_missing_config_is_made_and_an_existing_one_can_be_replaced_completely() -> None:
    assert put(None, ["a", "b"], 1) == {"a": {"b": 1}}
    assert put({"a": 1}, [], {"b": 2}) == {"b": 2}


@pytest.mark.parametrize("key", ["train.lr.x", "train.betas.2", "train.betas.x"])
def test_a_value_that_cannot_have_keys_refuses_them(key: str) -> None:
    with pytest.raises(ContextError):
        put(CONFIG, key.split("."), 1)
