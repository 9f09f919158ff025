"""The configs of a job: the folder of the iteration in its `export_path`, and placeholders."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox_actors.experiment.job_configs import is_placeholder, with_iteration_folder


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
    assert with_iteration_folder({"export_path": path, "work_dir": "w"}, 3) == {
        "export_path": with_folder,
        "work_dir": "w",
    }


@pytest.mark.parametrize("config", [{}, {"export_path": None}, {"export_path": ""}, {"train": {"export_path": "a"}}])
def test_a_config_without_export_path_stays_as_it_is(config: dict[str, Any]) -> None:
    assert with_iteration_folder(config, 3) == config


def test_placeholders_are_distinguished_from_values() -> None:
    assert is_placeholder("<replaced_by_the_input>")
    assert not any(is_placeholder(each) for each in ("<home>/data.jsonl", "a", "", None, 3, ["<x>"]))
