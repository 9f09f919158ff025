"""Data that a file names: it exists already, or an earlier job makes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox_actors.experiment_file.checking import CONVERT, errors, executing, load, warnings

pytestmark = pytest.mark.usefixtures("folder_with_data")


def train_on(path: str, before: str = CONVERT) -> str:
    return executing(before, f"hook: TrainModelHook, extra_configs: {{type: modelscope, train_dataset: {path}}}")


@pytest.mark.parametrize(
    "path",
    [
        "data.jsonl",
        "./data.jsonl",
        "s3://bucket/data.jsonl",
        "[data.jsonl, data.jsonl]",
        "./out/iter_1/made.jsonl",
        "out/iter_2/made_stats.jsonl",
        "''",
    ],
)
def test_data_that_exists_or_that_an_earlier_job_makes_is_accepted(path: str) -> None:
    make = "hook: GeneralDataExecutorHook, extra_configs: {type: convert, export_path: ./out/made.jsonl}"
    assert errors(train_on(path, make)) == []


@pytest.mark.parametrize(
    "path", ["./none.jsonl", "none.jsonl", "out/none", "/none/data", "~/none/x.parquet", "./a b.jsonl"]
)
def test_data_that_does_not_exist_is_an_error(path: str) -> None:
    (error,) = errors(train_on(path).replace("train_dataset", "dataset_path"))
    assert error.startswith("execution_job_configs.1.extra_configs.dataset_path: there is no file or folder ")


def test_data_of_a_later_job_does_not_exist_yet() -> None:
    make = "hook: GeneralDataExecutorHook, extra_configs: {type: convert, export_path: ./out/made.jsonl}"
    train = "hook: TrainModelHook, extra_configs: {type: modelscope, train_dataset: ./out/iter_1/made.jsonl}"
    assert len(errors(executing(train, make))) == 1


def test_for_an_export_path_without_the_folder_of_the_iteration_the_error_names_the_right_path() -> None:
    make = "hook: GeneralDataExecutorHook, extra_configs: {type: convert, export_path: ./out/made.jsonl}"
    (error,) = errors(train_on("./out/made.jsonl", make))
    assert "writes it, but to './out/iter_1/made.jsonl': use its output by `input`" in error


def test_for_a_misspelt_file_the_error_names_the_nearest_one() -> None:
    (error,) = errors(train_on("dta.jsonl"))
    assert "did you mean 'data.jsonl'?" in error


def test_a_dataset_that_may_be_a_name_on_a_hub_is_a_warning() -> None:
    (error,) = warnings(train_on("allenai/c4"))
    assert "it is assumed to be a name on a hub" in error


def test_a_dataset_that_a_known_type_reads_must_exist() -> None:
    config = "{type: transformers, train_dataset: allenai/c4, tokenizer: gpt2, model: {name: a}}"
    loaded = load(executing(f"hook: TrainModelHook, extra_configs: {config}"))
    assert [error.path for error in loaded.errors] == ["execution_job_configs.0.extra_configs.train_dataset"]
    assert [warning.path for warning in loaded.warnings][-1] == "execution_job_configs.0.extra_configs.tokenizer"


def test_each_of_several_weighted_datasets_must_exist() -> None:
    recipe = "{dataset_path: 0.5 data.jsonl 0.5 none.jsonl}"
    (error,) = errors(executing(f"hook: ProcessDataHook, dj_configs: {recipe}"))
    assert "'none.jsonl'" in error


def test_data_that_input_or_local_replaces_is_not_checked() -> None:
    ask = "hook: TrainModelHook, extra_configs: {type: modelscope, train_dataset: none.jsonl}, "
    assert errors(executing(CONVERT + ", output: path", ask + "input: {extra_configs.train_dataset: -1.path}")) == []
    assert errors(executing(ask + "local: {extra_configs.train_dataset: data.jsonl}")) == []
    (error,) = errors(executing(ask + "local: {extra_configs.train_dataset: no.jsonl}"))
    assert error.startswith("execution_job_configs.0.local.extra_configs.train_dataset: ")


@pytest.mark.parametrize(
    "job",
    [
        "hook: TrainModelHook, extra_configs: {type: modelscope, train_dataset: '<replaced_by_the_input>'}",
        "hook: TrainModelHook, extra_configs: '<replaced_by_the_input>'",
        "hook: ProcessDataHook, dj_configs: '<replaced>'",
    ],
)
def test_a_placeholder_that_nothing_replaces_is_an_error(job: str) -> None:
    (error,) = errors(executing(job))
    assert "is a placeholder that no `input` and no `local` replaces" in error


def test_a_path_that_contains_a_placeholder_is_a_warning() -> None:
    (error,) = warnings(train_on("<home>/data.jsonl"))
    assert "contains a placeholder" in error


def test_missing_data_in_a_config_file_is_reported_with_the_name_of_that_file() -> None:
    Path("train.yaml").write_text("type: modelscope\ndata:\n  dataset_path: none.jsonl\n")
    (error,) = load(executing("hook: TrainModelHook, extra_configs: train.yaml")).errors
    assert (error.file, error.path) == ("train.yaml", "data.dataset_path")
    assert error.message.endswith("(line 3)")
