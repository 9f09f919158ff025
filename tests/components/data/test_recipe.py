from __future__ import annotations

from pathlib import Path

import pytest

from components.data.recipe import check_dataset, dataset_files
from sandbox_actors.errors import ConfigError


def test_a_dataset_path_may_weigh_several_files(tmp_path: Path) -> None:
    assert dataset_files("0.3 a.jsonl 1 b.jsonl") == ["a.jsonl", "b.jsonl"]
    odd = tmp_path / "0.3 of it.jsonl"
    odd.write_text("x")
    assert dataset_files(str(odd)) == [str(odd)]


def test_datasets_that_are_there_are_fine(tmp_path: Path) -> None:
    data = tmp_path / "a.jsonl"
    data.write_text("{}")
    check_dataset({"dataset_path": str(data)})
    check_dataset({"dataset_path": str(tmp_path)})
    check_dataset({"dataset_path": f"0.5 {data} 0.5 {data}"})
    check_dataset({"dataset": {"configs": []}})


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, "recipe: dataset_path: missing"),
        ({"dataset_path": ""}, "recipe: dataset_path: missing"),
        ({"dataset_path": "absent.jsonl"}, r"recipe: dataset_path: absent\.jsonl does not exist \(searched from /"),
        ({"dataset_path": "0.5 absent.jsonl"}, r"absent\.jsonl does not exist"),
        ({"dataset_path": "empty.jsonl"}, r"empty\.jsonl is empty"),
    ],
)
def test_datasets_that_are_not_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ConfigError, match=message):
        check_dataset(recipe)
