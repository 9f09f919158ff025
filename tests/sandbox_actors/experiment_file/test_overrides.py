"""`--set KEY=VALUE`: any key of an experiment, in any of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_actors.experiment.model import Experiment
from sandbox_actors.experiment_file.load import load_experiment

FILE = """
experiment_name: first
hpo_config: sweep.yaml
pipelines:
  - baseline:
      execution_job_configs:
        - hook: TrainModelHook
          meta_name: train
          extra_configs: train.yaml
  - refined:
      execution_job_configs:
        - hook: ProcessDataHook
          dj_configs: {process: [{words_num_filter: {min_num: 1}}]}
        - jobs/train.yaml
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jobs").mkdir()
    Path("sandbox.yaml").write_text(FILE)
    Path("sweep.yaml").write_text("method: grid\nparameters: {a: 1}\n")
    Path("train.yaml").write_text("lr: 1\ntrain: {max_steps: 10, betas: [1, 2]}\n")
    Path("other.yaml").write_text("lr: 2\n")
    Path("jobs/train.yaml").write_text("hook: TrainModelHook\nmeta_name: train\nextra_configs: train.yaml\n")


def overridden(*overrides: str) -> Experiment:
    return load_experiment("sandbox.yaml", overrides).require()


def test_a_key_in_a_config_file_is_set_only_for_the_job_that_is_named() -> None:
    baseline, refined = overridden("refined.train.extra_configs.train.max_steps=50").pipelines
    assert refined.execution_jobs[1].extra_configs == {"lr": 1, "train": {"max_steps": 50, "betas": [1, 2]}}
    assert baseline.execution_jobs[0].extra_configs == {"lr": 1, "train": {"max_steps": 10, "betas": [1, 2]}}


def test_keys_of_jobs_lists_and_the_experiment_are_set_to_values_written_as_in_yaml() -> None:
    experiment = overridden(
        "max_iter_num=3",
        "experiment_name='7'",
        "hpo_config.parameters={b: [1, 3e-4]}",
        "baseline.train.timeout=30m",
        "baseline.train.extra_configs.train.betas.1=0.5",
        "baseline.train.extra_configs.new.key=true",
        "refined.execution_job_configs.0.meta_name=process",
        "refined.process.dj_configs.process.0.words_num_filter.min_num=2",
        "pipelines.refined.train.retries=2",
    )
    train, process = experiment.pipelines[0].execution_jobs[0], experiment.pipelines[1].execution_jobs[0]
    assert (experiment.max_iter_num, experiment.experiment_name) == (3, "7")
    assert experiment.hpo_config == {"method": "grid", "parameters": {"b": [1, 0.0003]}}
    assert train.timeout == 1800.0
    assert train.extra_configs == {"lr": 1, "train": {"max_steps": 10, "betas": [1, 0.5]}, "new": {"key": True}}
    assert process.dj_configs == {"process": [{"words_num_filter": {"min_num": 2}}]}
    assert experiment.pipelines[1].execution_jobs[1].retries == 2


def test_a_config_that_is_replaced_by_another_path_is_read_from_there_and_can_be_changed_further() -> None:
    experiment = overridden(
        "baseline.train.extra_configs=other.yaml",
        "refined.train.extra_configs=other.yaml",
        "refined.train.extra_configs.lr=3",
    )
    assert [pipeline.execution_jobs[-1].extra_configs for pipeline in experiment.pipelines] == [{"lr": 2}, {"lr": 3}]


def test_a_job_list_can_be_set_to_the_paths_of_jobs() -> None:
    experiment = overridden("refined.execution_job_configs=[jobs/train.yaml]")
    assert [job.meta_name for _, job in experiment.pipelines[1].jobs()] == ["train"]


def test_every_job_of_a_name_is_meant_and_jobs_without_a_name_have_the_default_one() -> None:
    Path("sandbox.yaml").write_text(
        "execution_job_configs:\n" + "  - {hook: TrainModelHook, extra_configs: train.yaml}\n" * 2
    )
    experiment = overridden("anonymous.anonymous_meta_name.extra_configs.lr=5")
    assert [job.extra_configs["lr"] for _, job in experiment.pipelines[0].jobs()] == [5, 5]  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("max_iter_num", "max_iter_num: write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("baselin.train.extra_configs.lr=1", "no key 'baselin'; did you mean 'baseline'?"),
        ("baseline.tain.extra_configs.lr=1", "no job 'tain'; did you mean 'train'?"),
        ("baseline.train=1", "add the job and the key"),
        ("baseline.train.extra_configs.lr.x=1", "'x' cannot be set in 1"),
        ("baseline.train.extra_configs.train.betas.7=1", "no '7' in a list of 2"),
        ("experiment_name.x=1", "'x' cannot be set in 'first'"),
        ("max_iter_num=[1", "not YAML"),
    ],
)
def test_a_setting_whose_key_does_not_exist_is_an_error(override: str, complaint: str) -> None:
    loaded = load_experiment("sandbox.yaml", [override])
    assert loaded.experiment is None
    assert [error.file for error in loaded.errors] == ["--set"]
    assert complaint in str(loaded.errors[0])


def test_a_wrong_value_is_reported_under_its_setting() -> None:
    loaded = load_experiment("sandbox.yaml", ["baseline.train.retries=often", "baseline.train.extra_configs=x.json"])
    assert [str(error) for error in loaded.errors] == [
        "--set: baseline.train.extra_configs: there is no file 'x.json'",
        "--set: baseline.train.retries: must be a whole number, not the text 'often'",
    ]
