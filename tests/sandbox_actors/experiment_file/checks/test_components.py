"""Hooks, component types, operators and envs that a file names: everything that is wrong is reported at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox_actors.experiment.hook_specs import HOOK_SPECS, HookSpec
from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.experiment_file.load import load_experiment
from sandbox_actors.system.machine import Machine
from tests.sandbox_actors.experiment_file.checking import (
    CATALOGUE,
    CONVERT,
    errors,
    executing,
    in_lists,
    load,
    warnings,
)

pytestmark = pytest.mark.usefixtures("folder_with_data")


def test_all_errors_of_a_file_are_reported_at_once() -> None:
    assert errors("""\
probe_job_configs:
  - hook: ProbeViaAnalyserHook
  - hook: ProbeViaAnalyzerHook
    dj_configs:
      dataset_path: ./missing.jsonl
      process:
        - text_lenght_filter: {min_len: 3}
        - words_num_filter: {lang: en, minimum: 3}
execution_job_configs:
  - hook: TrainModelHook
    meta_name: train
    extra_configs: {type: transfomers}
    input:
      extra_configs.train_dataset: anonymous.proces.path
  - hook: TrainModelHook
    extra_configs: {type: transformers, train_dataset: ./outputs/train.jsonl, model: {}}
    env: transformer
""") == [
        "probe_job_configs.0.hook: unknown hook 'ProbeViaAnalyserHook'; did you mean 'ProbeViaAnalyzerHook'? (line 2)",
        "probe_job_configs.1.dj_configs.process.0.text_lenght_filter: "
        "Data-Juicer has no operator 'text_lenght_filter'; did you mean 'text_length_filter'? (line 7)",
        "probe_job_configs.1.dj_configs.process.1.words_num_filter.minimum: "
        "words_num_filter has no parameter 'minimum'; did you mean 'min_num'? (line 8)",
        "probe_job_configs.1.dj_configs.dataset_path: there is no file or folder './missing.jsonl' (line 5)",
        "execution_job_configs.0.extra_configs.type: "
        "ModelTrainExecutorFactory has no type 'transfomers'; did you mean 'transformers'? (line 12)",
        "execution_job_configs.1.env: there is no env 'transformer'; did you mean 'transformers'? (line 17)",
        "execution_job_configs.1.extra_configs: TrainModelHook needs 'model.name' in extra_configs (line 16)",
        "execution_job_configs.1.extra_configs.train_dataset: "
        "there is no file or folder './outputs/train.jsonl'; there is no folder './outputs' (line 16)",
        "execution_job_configs.0.input.extra_configs.train_dataset: "
        "anonymous.proces.path: pipeline 'anonymous' has no job 'proces'; "
        "known: anonymous_meta_name, train (line 14)",
    ]


def test_without_a_catalogue_hooks_are_checked_and_types_are_not() -> None:
    loaded = load(executing("hook: TrainModelHoo", "hook: TrainModelHook, extra_configs: {type: any}"), None)
    assert [error.path for error in loaded.errors] == ["execution_job_configs.0.hook"]


@pytest.mark.parametrize("type_name", ["pkg.mod:Class", "mod:_Class2"])
def test_a_class_of_the_users_own_is_a_type_and_a_hook(type_name: str) -> None:
    hook = executing(f"hook: '{type_name}'", f"hook: TrainModelHook, extra_configs: {{type: '{type_name}'}}")
    assert warnings(hook) == []


@pytest.mark.parametrize("type_name", ["pkg/mod:Class", ":Class", "mod:", "1mod:Class", "mod:a:b"])
def test_text_that_only_resembles_a_class_is_an_unknown_type(type_name: str) -> None:
    (error,) = errors(executing(f"hook: TrainModelHook, extra_configs: {{type: '{type_name}'}}"))
    assert "a class of your own is written package.module:Class" in error


def test_a_hook_of_the_users_own_is_known_if_it_is_in_the_catalogue() -> None:
    own = HookSpec(name="MyHook", factories=(("ModelTrainExecutorFactory", "extra_configs"),), lists=("probe_jobs",))
    catalogue = Catalogue(factories=CATALOGUE.factories, hooks={**HOOK_SPECS, "MyHook": own})
    loaded = load(in_lists(probe=["hook: MyHook, extra_configs: {type: nothing}"]), catalogue)
    assert [error.path for error in loaded.errors] == ["probe_job_configs.0.extra_configs.type"]


def test_a_hook_in_an_unusual_list_is_a_warning() -> None:
    assert warnings(in_lists(probe=[CONVERT])) == [
        "probe_job_configs.0.hook: GeneralDataExecutorHook is made for execution_jobs, not for probe_jobs (line 2)"
    ]


@pytest.mark.parametrize(
    "job",
    [
        "hook: TrainModelHook",
        "hook: TrainModelHook, extra_configs: {lr: 1}",
        "hook: TrainModelHook, extra_configs: {type: 3}",
        "hook: TrainModelHook, extra_configs: {type: }",
    ],
)
def test_a_component_without_a_type_is_an_error(job: str) -> None:
    (error,) = errors(executing(job))
    assert "extra_configs" in error


def test_a_type_that_input_or_local_sets_is_accepted() -> None:
    assert (
        errors(
            executing(
                CONVERT + ", meta_name: a, output: type",
                "hook: TrainModelHook, input: {extra_configs.type: -1.type}, extra_configs: {type: '<replaced>'}",
                "hook: TrainModelHook, input: {extra_configs: a.a.type}, extra_configs: '<replaced>'",
                "hook: TrainModelHook, local: {extra_configs.type: modelscope}",
            ).replace("a.a.type", "anonymous.a.type")
        )
        == []
    )


def test_a_wrong_type_in_local_is_reported_where_it_is_written() -> None:
    (error,) = errors(
        executing("hook: TrainModelHook, local: {extra_configs.type: x}, extra_configs: {type: modelscope}")
    )
    assert error.startswith("execution_job_configs.0.local.extra_configs.type: ")


def test_input_may_set_the_keys_that_a_type_needs() -> None:
    train = "hook: TrainModelHook, extra_configs: {type: transformers, train_dataset: data.jsonl}"
    assert errors(executing(train)) == [
        "execution_job_configs.0.extra_configs: TrainModelHook needs 'model.name' in extra_configs (line 2)"
    ]
    brought = train + ", input: {extra_configs.model: -1.model}"
    assert errors(executing(CONVERT + ", output: model", brought)) == []


def test_a_key_that_a_type_does_not_know_is_an_error_unless_it_accepts_any() -> None:
    job = "hook: EvaluateModelHook, local: {extra_configs.batchsize: 2}, extra_configs: {type: strict, batch_size: 1}"
    assert errors(in_lists(evaluation=[job])) == [
        "evaluation_job_configs.0.local.extra_configs.batchsize: "
        "EvaluateModelHook has no key 'batchsize'; did you mean 'batch_size'? (line 2)"
    ]
    assert errors(in_lists(evaluation=[job.replace("strict", "perplexity")])) == []


def test_a_wrong_value_is_an_error_unless_input_replaces_it() -> None:
    job = "hook: EvaluateModelHook, extra_configs: {type: strict, batch_size: many}"
    assert errors(in_lists(evaluation=[job])) == [
        "evaluation_job_configs.0.extra_configs.batch_size: not a whole number (line 2)"
    ]
    wired = f"input: {{extra_configs.batch_size: -1.size}}, {job}"
    assert errors(in_lists(execution=[CONVERT + ", output: size"], evaluation=[wired])) == []


def test_a_refiner_needs_the_path_it_writes() -> None:
    (error,) = errors(in_lists(refine_recipe=["hook: RefineRecipeViaKSigmaHook, extra_configs: {k: 3}"]))
    assert "needs 'path_k_sigma_recipe' in extra_configs" in error


@pytest.mark.parametrize(
    ("process", "path"),
    [
        ("text_length_filter", "process"),
        ("[{a: 1, b: 2}]", "process.0"),
        ("[3]", "process.0"),
        ("[words_num_filter, nothing_filter]", "process.1.nothing_filter"),
        ("[{words_num_filter: 3}]", "process.0.words_num_filter"),
    ],
)
def test_a_recipe_must_be_a_list_of_known_operators(process: str, path: str) -> None:
    (error,) = errors(executing(f"hook: ProcessDataHook, dj_configs: {{dataset_path: data.jsonl, process: {process}}}"))
    assert error.startswith(f"execution_job_configs.0.dj_configs.{path}: ")


def test_a_recipe_with_operators_of_its_own_gets_warnings_only() -> None:
    recipe = "{dataset_path: data.jsonl, custom_operator_paths: [ops.py], process: [my_filter, words_num_filter: ]}"
    (error,) = warnings(executing(f"hook: ProcessDataHook, dj_configs: {recipe}"))
    assert "no operator 'my_filter'" in error


def test_an_operator_that_input_sets_is_not_checked() -> None:
    process = "{dataset_path: data.jsonl, process: ['<replaced>']}"
    job = f"hook: ProcessDataHook, dj_configs: {process}, input: {{dj_configs.process.0: -1.operator}}"
    assert errors(executing(CONVERT + ", output: operator", job)) == []


def test_an_env_is_in_the_file_or_in_the_catalogue_or_a_spec_file() -> None:
    Path("spec.yaml").write_text("manager: uv\n")
    jobs = [f"{CONVERT}, env: {env}" for env in ("own", "data-juicer", "spec.yaml")]
    assert errors("envs: {own: {manager: uv}}\n" + executing(*jobs)) == []


def test_an_env_manager_that_cannot_be_used_is_an_error_before_an_env_is_made() -> None:
    text = "envs: {a: {manager: conda}, b: {manager: mamb}, c: {manager: uv}, d: transformers}\n" + executing(CONVERT)
    Path("sandbox.yaml").write_text(text)
    managers = {"uv": "", "mamba": "", "conda": "no conda on the PATH"}
    loaded = load_experiment("sandbox.yaml", [], Catalogue(managers=managers))
    assert [f"{error.path}: {error.message}" for error in loaded.errors] == [
        "envs.a.manager: conda cannot be used here: no conda on the PATH (line 1)",
        "envs.b.manager: there is no env manager 'mamb'; did you mean 'mamba'? (line 1)",
    ]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("env_name: mine, env_manager: cnoda", "there is no env manager 'cnoda'; did you mean 'conda'?"),
        ("env_manager: uv", "needs `env_name` beside it"),
    ],
)
def test_the_env_that_a_config_names_is_checked(asked: str, message: str) -> None:
    catalogue = replace(CATALOGUE, managers={"uv": "", "conda": "there is no conda on the PATH"})
    text = executing(f"hook: TrainModelHook, extra_configs: {{type: 'a:B', {asked}}}")
    (problem,) = load(text, catalogue).errors
    assert message in problem.message


def test_a_manager_that_cannot_be_used_is_a_warning_unless_the_env_is_defined_otherwise() -> None:
    catalogue = replace(CATALOGUE, managers={"uv": "", "conda": "there is no conda on the PATH"})
    text = executing("hook: TrainModelHook, extra_configs: {type: 'a:B', env_name: mine, env_manager: conda}")
    (warning,) = load(text, catalogue).warnings
    assert "there is no conda on the PATH; `envs.mine` in the file can define it otherwise" in warning.message
    assert load(f"envs: {{mine: {{manager: uv}}}}\n{text}", catalogue).warnings == []


def test_a_component_that_needs_a_gpu_is_an_error_without_one_unless_its_job_has_an_env() -> None:
    infer = "hook: InferModelHook, extra_configs: {type: vllm}"
    for machine, file, expected in (
        (Machine(cpus=1, memory=1), executing(infer), ["needs a GPU, and this machine has none"]),
        (Machine(cpus=1, memory=1), executing(f"{infer}, env: transformers"), []),
        (Machine(cpus=1, memory=1, gpus=("0",)), executing(infer), []),
    ):
        messages = [error.message for error in load(file, replace(CATALOGUE, machine=machine)).errors]
        assert [message.partition(";")[0] for message in messages] == expected


def test_an_api_key_in_a_file_is_an_error_that_does_not_repeat_it() -> None:
    (error,) = errors(
        executing("hook: InferModelHook, extra_configs: {type: api, model_params: {api_key: sk-canary, timeout: 3}}")
    )
    assert "extra_configs.model_params.api_key: everyone who reads the file sees a secret in it" in error
    assert "canary" not in error
