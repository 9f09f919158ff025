"""Data that a file names: there already, or made by an earlier job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox_actors.experiment_file.checking import CONVERT, errors, executing, load, warnings

pytestmark = pytest.mark.usefixtures("folder_with_data")


def trained_on(path: str, before: str = CONVERT) -> str:
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
def test_data_that_is_there_or_that_an_earlier_job_makes_is_no_error(path: str) -> None:
    make = "hook: GeneralDataExecutorHook, extra_configs: {type: convert, export_path: ./out/made.jsonl}"
    assert errors(trained_on(path, make)) == []


@pytest.mark.parametrize(
    "path", ["./none.jsonl", "none.jsonl", "out/none", "/none/data", "~/none/x.parquet", "./a b.jsonl"]
)
def test_data_that_is_nowhere_is_an_error(path: str) -> None:
    (told,) = errors(trained_on(path).replace("train_dataset", "dataset_path"))
    assert told.startswith("execution_job_configs.1.extra_configs.dataset_path: there is no file or folder ")


def test_data_of_a_later_job_is_not_there_yet() -> None:
    make = "hook: GeneralDataExecutorHook, extra_configs: {type: convert, export_path: ./out/made.jsonl}"
    train = "hook: TrainModelHook, extra_configs: {type: modelscope, train_dataset: ./out/iter_1/made.jsonl}"
    assert len(errors(executing(train, make))) == 1


def test_an_export_without_the_folder_of_its_iteration_is_pointed_to_the_right_one() -> None:
    make = "hook: GeneralDataExecutorHook, extra_configs: {type: convert, export_path: ./out/made.jsonl}"
    (told,) = errors(trained_on("./out/made.jsonl", make))
    assert "writes it, but to './out/iter_1/made.jsonl': take its output by `input`" in told


def test_a_misspelt_file_has_its_neighbour_named() -> None:
    (told,) = errors(trained_on("dta.jsonl"))
    assert "did you mean 'data.jsonl'?" in told


def test_a_dataset_may_be_the_name_of_one_and_is_a_warning_then() -> None:
    (told,) = warnings(trained_on("allenai/c4"))
    assert "it is taken for a name" in told


def test_what_a_known_type_reads_as_a_dataset_has_to_be_there() -> None:
    config = "{type: transformers, train_dataset: allenai/c4, tokenizer: gpt2, model: {name: a}}"
    told = load(executing(f"hook: TrainModelHook, extra_configs: {config}"))
    assert [error.path for error in told.errors] == ["execution_job_configs.0.extra_configs.train_dataset"]
    assert [warning.path for warning in told.warnings][-1] == "execution_job_configs.0.extra_configs.tokenizer"


def test_each_of_several_weighted_datasets_has_to_be_there() -> None:
    recipe = "{dataset_path: 0.5 data.jsonl 0.5 none.jsonl}"
    (told,) = errors(executing(f"hook: ProcessDataHook, dj_configs: {recipe}"))
    assert "'none.jsonl'" in told


def test_data_that_input_or_local_brings_is_not_looked_for() -> None:
    ask = "hook: TrainModelHook, extra_configs: {type: modelscope, train_dataset: none.jsonl}, "
    assert errors(executing(CONVERT + ", output: path", ask + "input: {extra_configs.train_dataset: -1.path}")) == []
    assert errors(executing(ask + "local: {extra_configs.train_dataset: data.jsonl}")) == []
    (told,) = errors(executing(ask + "local: {extra_configs.train_dataset: no.jsonl}"))
    assert told.startswith("execution_job_configs.0.local.extra_configs.train_dataset: ")


@pytest.mark.parametrize(
    "job",
    [
        "hook: TrainModelHook, extra_configs: {type: modelscope, train_dataset: '<replaced_by_the_input>'}",
        "hook: TrainModelHook, extra_configs: '<replaced_by_the_input>'",
        "hook: ProcessDataHook, dj_configs: '<replaced>'",
    ],
)
def test_a_placeholder_that_nothing_replaces_is_an_error(job: str) -> None:
    (told,) = errors(executing(job))
    assert "is a placeholder that no `input` and no `local` replaces" in told


def test_a_path_with_a_placeholder_in_it_is_a_warning() -> None:
    (told,) = warnings(trained_on("<home>/data.jsonl"))
    assert "has a placeholder in it" in told


def test_data_named_in_a_config_file_is_told_by_that_file() -> None:
    Path("train.yaml").write_text("type: modelscope\ndata:\n  dataset_path: none.jsonl\n")
    (error,) = load(executing("hook: TrainModelHook, extra_configs: train.yaml")).errors
    assert (error.file, error.path) == ("train.yaml", "data.dataset_path")
    assert error.message.endswith("(line 3)")
