"""What experiment files mean."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sandbox_actors.errors import ConfigError
from sandbox_actors.experiment.model import Experiment, Resources, freeze, thaw
from tests.sandbox_actors.experiment_file.loading import experiment_of, folder, write

__all__ = ["folder"]

pytestmark = pytest.mark.usefixtures("folder")

JOB = "{hook: TrainModelHook, meta_name: train}"


# --- what a file says ---


def test_a_file_for_data_juicer_sandbox_is_read_completely() -> None:
    write("dataset_path: data.jsonl\nexport_path: out.jsonl\nprocess: [{text_length_filter: {min_len: 3}}]", "dj.yaml")
    write('{"type": "modelscope", "train_dataset": "data.jsonl", "lr": 3e-4}', "train.json")
    write("{}", "data.jsonl")
    experiment = experiment_of("""
project_name: 'demo'
experiment_name: 'demo-run0'              # for wandb tracer name
work_dir: './outputs/demo'
hpo_config: null
probe_job_configs:
  - hook: 'ProbeViaAnalyzerHook'
    meta_name: 'analysis'
    dj_configs: 'dj.yaml'
    extra_configs:
refine_recipe_job_configs:
  - hook: 'RefineRecipeViaKSigmaHook'
    meta_name: 'analysis'
    output: 'recipe'
    dj_configs: 'dj.yaml'
    extra_configs:
      path_k_sigma_recipe: './outputs/recipe.yaml'
execution_job_configs:
  - hook: 'ProcessDataHook'
    meta_name:
    input:
      dj_configs: '-1.recipe'
    output: ['dataset']
    dj_configs: '<auto_replaced_with_previous_output>'
  - hook: 'TrainModelHook'
    meta_name: 'train'
    input:
      extra_configs.train_dataset: '-1.dataset'
    dj_configs:
    extra_configs: 'train.json'
evaluation_job_configs:
""")
    (pipeline,) = experiment.pipelines
    recipe = {"dataset_path": "data.jsonl", "export_path": "out.jsonl"} | {
        "process": [{"text_length_filter": {"min_len": 3}}]
    }
    assert (experiment.project_name, experiment.work_dir, pipeline.name) == ("demo", "./outputs/demo", "anonymous")
    assert [(name, job.meta_name, job.output) for name, job in pipeline.jobs()] == [
        ("probe_jobs", "analysis", None),
        ("refine_recipe_jobs", "analysis", ["recipe"]),
        ("execution_jobs", "anonymous_meta_name", ["dataset"]),
        ("execution_jobs", "train", None),
    ]
    assert pipeline.probe_jobs[0].dj_configs == recipe
    assert pipeline.execution_jobs[0].dj_configs == "<auto_replaced_with_previous_output>"
    assert pipeline.execution_jobs[1].extra_configs == {"type": "modelscope", "train_dataset": "data.jsonl", "lr": 3e-4}
    assert pipeline.execution_jobs[1].dj_configs is None


def test_everything_optional_has_a_default() -> None:
    experiment = experiment_of(f"execution_job_configs: [{JOB}]", "runs/first.yaml")
    assert experiment == Experiment(
        project_name="sandbox",
        experiment_name="first",
        work_dir="./outputs/first",
        pipelines=experiment.pipelines,
    )
    assert (experiment.max_iter_num, experiment.resume, experiment.parallel) == (1, False, False)


@pytest.mark.parametrize(
    "pipelines",
    [
        f"pipelines:\n  - b: {{execution_job_configs: [{JOB}]}}\n  - a: {{evaluation_job_configs: [{JOB}]}}",
        f"pipelines:\n  b: {{execution_job_configs: [{JOB}]}}\n  a: {{evaluation_job_configs: [{JOB}]}}",
        f'{{"pipelines": {{"b": {{"execution_job_configs": [{JOB}]}}, "a": {{"evaluation_job_configs": [{JOB}]}}}}}}',
    ],
)
def test_pipelines_are_a_list_of_one_key_mappings_or_a_mapping_and_keep_their_order(pipelines: str) -> None:
    experiment = experiment_of(pipelines)
    assert [pipeline.name for pipeline in experiment.pipelines] == ["b", "a"]
    assert [list_name for pipeline in experiment.pipelines for list_name, _ in pipeline.jobs()] == [
        "execution_jobs",
        "evaluation_jobs",
    ]


def test_a_job_can_be_the_path_of_a_file_whose_configs_are_paths_again() -> None:
    write("hook: TrainModelHook\nmeta_name: train\nextra_configs: jobs/extra.json\n", "jobs/train.yaml")
    write('{"lr": 1}', "jobs/extra.json")
    (job,) = experiment_of("execution_job_configs: [jobs/train.yaml]").pipelines[0].execution_jobs
    assert (job.meta_name, job.extra_configs) == ("train", {"lr": 1})


def test_a_sweep_is_a_mapping_or_the_path_of_one() -> None:
    write("method: grid\n", "sweep.yaml")
    jobs = f"execution_job_configs: [{JOB}]\n"
    assert experiment_of(jobs + "hpo_config: sweep.yaml").hpo_config == {"method": "grid"}
    assert experiment_of(jobs + "hpo_config: {method: grid}").hpo_config == {"method": "grid"}


def test_envs_are_specs_their_paths_or_names_of_specs() -> None:
    write("manager: uv\ndeps: [a]\n", "envs/own.yaml")
    experiment = experiment_of(
        f"envs: {{own: envs/own.yaml, inline: {{manager: venv}}, named: transformers}}\nexecution_job_configs: [{JOB}]"
    )
    assert experiment.envs == {
        "own": {"manager": "uv", "deps": ["a"]},
        "inline": {"manager": "venv"},
        "named": "transformers",
    }


def test_durations_and_sizes_of_a_job_are_converted_to_seconds_and_bytes() -> None:
    (job,) = (
        experiment_of("""
execution_job_configs:
  - hook: TrainModelHook
    env: own
    resources: {cpus: 1.5, gpus: 0, memory: 4GB}
    keep_alive: 30m
    timeout: 1h30m
    retries: 2
    component_path: .
""")
        .pipelines[0]
        .execution_jobs
    )
    assert job.resources == Resources(cpus=1.5, gpus=0, memory=4 * 10**9)
    assert (job.keep_alive, job.timeout, job.retries, job.env, job.component_path) == (1800.0, 5400.0, 2, "own", ".")


def test_a_config_that_an_earlier_job_writes_is_read_when_its_job_starts() -> None:
    write("stale: true\n", "out/recipe.yaml")
    jobs = experiment_of("""
refine_recipe_job_configs:
  - {hook: RefineRecipeViaKSigmaHook, extra_configs: {path_k_sigma_recipe: ./out/recipe.yaml}}
execution_job_configs:
  - {hook: ProcessDataHook, dj_configs: out/recipe.yaml}
""").pipelines[0]
    assert jobs.execution_jobs[0].dj_configs == "out/recipe.yaml"


def test_a_config_that_input_replaces_completely_is_not_read() -> None:
    (job, _) = (
        experiment_of("""
execution_job_configs:
  - {hook: ProcessDataHook, meta_name: a, output: path, dj_configs: {process: []}}
  - {hook: ProcessDataHook, dj_configs: not/there.yaml, input: {dj_configs: -1.path}}
""")
        .pipelines[0]
        .execution_jobs
    )
    assert job.dj_configs == {"process": []}


def test_a_config_that_local_replaces_completely_is_read_from_there() -> None:
    write("process: []\n", "new.yaml")
    (job,) = (
        experiment_of(
            "execution_job_configs: [{hook: ProcessDataHook, dj_configs: old.yaml, local: {dj_configs: new.yaml}}]"
        )
        .pipelines[0]
        .execution_jobs
    )
    assert job.local == {"dj_configs": {"process": []}}


# --- frozen ---


def test_a_frozen_experiment_is_json_and_thaws_to_the_same() -> None:
    write("process: [a]\n", "dj.yaml")
    experiment = experiment_of("""
max_iter_num: 2
iter_targets: "p.evaluate.loss <= 2"
iter_updater: {p.evaluate.loss: p.train.extra_configs.lr}
pipelines:
  p:
    execution_job_configs:
      - {hook: ProcessDataHook, dj_configs: dj.yaml, timeout: 1h}
      - {hook: TrainModelHook, meta_name: train, extra_configs: {lr: 1, deep: [{a: null}]}, resources: {memory: 1k}}
    evaluation_job_configs:
      - {hook: EvaluateModelHook, meta_name: evaluate, output: loss}
""")
    definition = json.loads(json.dumps(freeze(experiment)))
    write("process: [b]\n", "dj.yaml")
    assert thaw(definition) == experiment
    assert thaw(definition).pipelines[0].execution_jobs[0].dj_configs == {"process": ["a"]}


@pytest.mark.parametrize(
    "definition",
    [None, 3, {}, {"format": 99, "experiment": {}}, {"format": 1, "experiment": {"project_name": 3}}, {"format": 1}],
)
def test_anything_else_than_a_frozen_experiment_does_not_thaw(definition: Any) -> None:
    with pytest.raises(ConfigError, match="not a frozen experiment"):
        thaw(definition)


def test_the_structs_contain_only_what_json_can_represent() -> None:
    experiment = experiment_of(f"execution_job_configs: [{JOB}]")
    assert msgspec.convert(msgspec.to_builtins(experiment), Experiment) == experiment


# --- what is wrong with a file ---
