"""What can be wrong with an experiment whose file has the right shape: all found at once, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox_actors.config import Loaded, load_experiment
from sandbox_actors.language.catalogue import HOOKS, Catalogue, HookSpec


@dataclass(frozen=True)
class Kind:
    required: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Factory:
    entries: dict[str, Kind] = field(default_factory=dict)
    default_type: str | None = None


CATALOGUE = Catalogue(
    factories={
        "DataAnalyzerFactory": Factory({"data_juicer": Kind(required=("dataset_path",))}, "data_juicer"),
        "DataExecutorFactory": Factory({"data_juicer": Kind(required=("dataset_path",))}, "data_juicer"),
        "GeneralDataExecutorFactory": Factory({"convert": Kind()}),
        "ModelTrainExecutorFactory": Factory(
            {
                "transformers": Kind(required=("model.name", "train_dataset"), reads=("train_dataset", "tokenizer")),
                "modelscope": Kind(),
            }
        ),
        "ModelEvaluatorFactory": Factory({"perplexity": Kind()}),
        "DataEvaluatorFactory": Factory({"accuracy": Kind()}),
    },
    refiners={"RefineRecipeViaKSigmaHook": Kind(required=("path_k_sigma_recipe",))},
    operators={"text_length_filter": ["min_len", "max_len"], "words_num_filter": ["lang", "min_num"]},
    envs=("data-juicer", "transformers"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.jsonl").write_text("{}")


def load(text: str, catalogue: Catalogue | None = CATALOGUE) -> Loaded:
    Path("sandbox.yaml").write_text(text)
    return load_experiment("sandbox.yaml", [], catalogue)


def errors(text: str) -> list[str]:
    return [f"{error.path}: {error.message}" for error in load(text).errors]


def warnings(text: str) -> list[str]:
    loaded = load(text)
    assert loaded.errors == []
    return [f"{warning.path}: {warning.message}" for warning in loaded.warnings]


def in_lists(**lists: Sequence[str]) -> str:
    """A file with these jobs, each a flow mapping of its own line."""
    parts = []
    for name, jobs in lists.items():
        parts.append(f"{name}_job_configs:")
        parts += [f"  - {{{job}}}" for job in jobs]
    return "\n".join(parts)


def executing(*jobs: str) -> str:
    return in_lists(execution=jobs)


CONVERT = "hook: GeneralDataExecutorHook, extra_configs: {type: convert}"


# --- hooks, types, operators, envs ---


def test_one_file_with_everything_wrong_has_all_of_it_told() -> None:
    told = errors("""\
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
""")
    assert told == [
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
def test_what_only_looks_like_a_class_is_an_unknown_type(type_name: str) -> None:
    (told,) = errors(executing(f"hook: TrainModelHook, extra_configs: {{type: '{type_name}'}}"))
    assert "a class of your own is written package.module:Class" in told


def test_a_hook_of_the_users_own_comes_with_the_catalogue() -> None:
    own = HookSpec(name="MyHook", factories=(("ModelTrainExecutorFactory", "extra_configs"),), lists=("probe_jobs",))
    catalogue = Catalogue(factories=CATALOGUE.factories, hooks={**HOOKS, "MyHook": own})
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
    (told,) = errors(executing(job))
    assert "extra_configs" in told


def test_a_type_that_input_or_local_brings_is_no_error() -> None:
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


def test_a_wrong_type_in_local_is_told_where_it_is_written() -> None:
    (told,) = errors(
        executing("hook: TrainModelHook, local: {extra_configs.type: x}, extra_configs: {type: modelscope}")
    )
    assert told.startswith("execution_job_configs.0.local.extra_configs.type: ")


def test_the_keys_that_a_type_needs_may_come_from_input() -> None:
    train = "hook: TrainModelHook, extra_configs: {type: transformers, train_dataset: data.jsonl}"
    assert errors(executing(train)) == [
        "execution_job_configs.0.extra_configs: TrainModelHook needs 'model.name' in extra_configs (line 2)"
    ]
    brought = train + ", input: {extra_configs.model: -1.model}"
    assert errors(executing(CONVERT + ", output: model", brought)) == []


def test_a_refiner_needs_the_path_it_writes() -> None:
    (told,) = errors(in_lists(refine_recipe=["hook: RefineRecipeViaKSigmaHook, extra_configs: {k: 3}"]))
    assert "needs 'path_k_sigma_recipe' in extra_configs" in told


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
def test_a_recipe_has_to_be_a_list_of_known_operators(process: str, path: str) -> None:
    (told,) = errors(executing(f"hook: ProcessDataHook, dj_configs: {{dataset_path: data.jsonl, process: {process}}}"))
    assert told.startswith(f"execution_job_configs.0.dj_configs.{path}: ")


def test_a_recipe_with_operators_of_its_own_gets_warnings_only() -> None:
    recipe = "{dataset_path: data.jsonl, custom_operator_paths: [ops.py], process: [my_filter, words_num_filter: ]}"
    (told,) = warnings(executing(f"hook: ProcessDataHook, dj_configs: {recipe}"))
    assert "no operator 'my_filter'" in told


def test_an_operator_that_input_brings_is_not_checked() -> None:
    process = "{dataset_path: data.jsonl, process: ['<replaced>']}"
    job = f"hook: ProcessDataHook, dj_configs: {process}, input: {{dj_configs.process.0: -1.operator}}"
    assert errors(executing(CONVERT + ", output: operator", job)) == []


def test_envs_are_those_of_the_file_of_the_catalogue_or_spec_files() -> None:
    Path("spec.yaml").write_text("manager: uv\n")
    jobs = [f"{CONVERT}, env: {env}" for env in ("own", "data-juicer", "spec.yaml")]
    assert errors("envs: {own: {manager: uv}}\n" + executing(*jobs)) == []


def test_an_env_manager_that_is_not_there_is_found_before_an_env_is_made() -> None:
    text = "envs: {a: {manager: conda}, b: {manager: mamb}, c: {manager: uv}, d: transformers}\n" + executing(CONVERT)
    Path("sandbox.yaml").write_text(text)
    managers = {"uv": "", "mamba": "", "conda": "no conda on the PATH"}
    loaded = load_experiment("sandbox.yaml", [], Catalogue(managers=managers))
    assert [f"{error.path}: {error.message}" for error in loaded.errors] == [
        "envs.a.manager: conda cannot be used here: no conda on the PATH (line 1)",
        "envs.b.manager: there is no env manager 'mamb'; did you mean 'mamba'? (line 1)",
    ]


# --- dotted names ---


def named(given: str, wanted: str, max_iter_num: int = 1, config: str = "{type: convert}") -> str:
    """Two pipelines: one whose job `give` has these outputs, and one that asks for `wanted`."""
    return f"""
max_iter_num: {max_iter_num}
pipelines:
  first:
    execution_job_configs:
      - {{hook: GeneralDataExecutorHook, meta_name: give, extra_configs: {{type: convert}}{given}}}
  second:
    probe_job_configs:
      - {{hook: GeneralDataExecutorHook, meta_name: ask, input: {{extra_configs.a: {wanted}}}, extra_configs: {config}}}
    evaluation_job_configs:
      - {{hook: GeneralDataExecutorHook, meta_name: last, output: late, extra_configs: {{type: convert}}}}
"""


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (", output: path", "first.give.path"),
        (", output: path", "-1.path"),
        (", output: [path, score]", "first.give.score.eval.0"),
        (", output: [path, score]", "-1.score.eval.0"),
        ("", "first.give.res_0"),
        ("", "-1.res_3"),
    ],
)
def test_a_name_that_an_earlier_job_provides_is_no_error(given: str, wanted: str) -> None:
    Path("sandbox.yaml").write_text(named(given, wanted))
    assert load_experiment("sandbox.yaml", [], CATALOGUE).errors == []


@pytest.mark.parametrize(
    ("given", "wanted", "complaint"),
    [
        ("", "frist.give.res_0", "there is no pipeline 'frist'; did you mean 'first'?"),
        ("", "first.given.res_0", "pipeline 'first' has no job 'given'; did you mean 'give'?"),
        (", output: path", "first.give.paht", "job first.give has no output 'paht'; did you mean 'path'?"),
        (", output: path", "first.give.res_0", "job first.give has no output 'res_0'; known: path"),
        ("", "first.give.path", "job first.give has no output 'path'; known: res_0"),
        (", output: path", "first.give", "write also which output of it is meant; known: path"),
        (", output: path", "first", "pipeline 'first' has no job ''"),
        (", output: path", "'-1'", "write which output of the last job is meant"),
        (", output: path", "-1.paht", "the job before, first.give, gives no 'paht'; did you mean 'path'?"),
        ("", "-1.path", "no job before this one gives 'path'"),
        ("", "second.last.late", "job second.last runs after this one"),
        ("", "second.ask.res_0", "a job cannot ask for its own output"),
    ],
)
def test_a_name_that_no_earlier_job_provides_is_an_error(given: str, wanted: str, complaint: str) -> None:
    (told,) = errors(named(given, wanted))
    assert told.startswith("pipelines.second.probe_job_configs.0.input.extra_configs.a: ")
    assert complaint in told


def test_minus_one_means_the_first_job_to_give_something_going_back() -> None:
    quiet = "hook: TrainModelHook, extra_configs: {type: modelscope}"
    sure = "hook: ProcessDataHook, dj_configs: {dataset_path: data.jsonl}"
    asking = CONVERT + ", input: {extra_configs.a: -1.path}"
    giving = CONVERT + ", output: path"
    assert errors(executing(giving, quiet, asking)) == []
    (told,) = errors(executing(giving, sure, asking))
    assert "the job before, anonymous.anonymous_meta_name, gives no 'path'; known: res_0" in told


def test_minus_one_in_the_first_job_of_all_is_an_error() -> None:
    (told,) = errors(executing(CONVERT + ", output: path, input: {extra_configs.a: -1.path}"))
    assert "no job before this one gives anything" in told


def test_a_name_that_only_the_iteration_before_provides_needs_more_than_one_and_a_value_to_start_with() -> None:
    start = "{type: convert, a: 1}"
    assert errors(named("", "second.last.late", max_iter_num=3, config=start)) == []
    (told,) = errors(named("", "second.last.late", max_iter_num=3))
    assert "comes from the iteration before, and in the first one extra_configs.a has no value of its own" in told
    assert errors(named("", "second.last.late", max_iter_num=3, config="{type: convert, a: '<x>'}"))


def test_two_jobs_of_one_name_provide_the_outputs_of_both() -> None:
    probe = "hook: ProbeViaAnalyzerHook, meta_name: same, dj_configs: {dataset_path: data.jsonl}"
    refine = "hook: RefineRecipeViaKSigmaHook, meta_name: same, output: recipe, extra_configs: {path_k_sigma_recipe: r}"
    ask = CONVERT + ", input: {extra_configs.a: anonymous.same.recipe, extra_configs.b: anonymous.same.res_0}"
    assert errors(in_lists(probe=[probe], refine_recipe=[refine], execution=[ask])) == []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("local: {extra_config.a: 1}", "has to start with dj_configs or extra_configs"),
        ("local: {extra_configs.type.a: 1}", "cannot be set in 'convert'"),
        ("local: {extra_configs.items.5: 1}", "no '5' in a list of 1"),
        ("input: {config.a: -1.path}", "has to start with dj_configs or extra_configs"),
        ("input: {extra_configs.type.a: -1.path}", "cannot be set in 'convert'"),
    ],
)
def test_a_setting_that_fits_nowhere_is_an_error(settings: str, complaint: str) -> None:
    job = "hook: GeneralDataExecutorHook, extra_configs: {type: convert, items: [1]}, "
    (told,) = errors(executing(CONVERT + ", output: path", job + settings))
    assert complaint in told


def test_names_are_not_checked_where_jobs_are_missing() -> None:
    told = errors(
        executing("hook: TrainModelHook", CONVERT) + "\n  - none.yaml\n  - {hook: X, input: {dj_configs: a.b.c}}"
    )
    assert not any("input" in each for each in told)


def test_names_are_not_checked_where_a_pipeline_is_missing() -> None:
    ask = f"{{{CONVERT}, input: {{extra_configs.a: first.give.path}}}}"
    assert errors(f"pipelines:\n  first: [wrong]\n  second: {{execution_job_configs: [{ask}]}}") == [
        "pipelines.first: must be a mapping, not a list (line 2)"
    ]


def test_a_name_with_a_dot_cannot_be_meant_and_is_a_warning() -> None:
    (told,) = warnings(executing(CONVERT + ", meta_name: a.b"))
    assert "no dotted name can mean this job" in told


# --- iterations ---


def iterated(settings: str) -> str:
    evaluate = "hook: GeneralDataExecutorHook, meta_name: evaluate, output: loss, extra_configs: {type: convert, lr: 1}"
    return settings + "\n" + executing(evaluate)


def test_targets_and_updaters_that_name_something_are_no_errors() -> None:
    assert (
        errors(
            iterated("""
max_iter_num: 0
iter_targets: ["anonymous.evaluate.loss <= 0.2", "anonymous.evaluate.loss.eval > -1e3"]
iter_updater:
  anonymous.evaluate.loss: anonymous.evaluate.extra_configs.lr
  anonymous.evaluate.loss.eval: anonymous.evaluate.extra_configs.new.key
""")
        )
        == []
    )


@pytest.mark.parametrize(
    ("settings", "path", "complaint"),
    [
        ("max_iter_num: 0", "max_iter_num", "there are none"),
        ("iter_targets: anonymous.evaluate.los > 1", "iter_targets.0", "no output 'los'; did you mean 'loss'?"),
        ("iter_targets: [anonymous.evaluat.loss > 1]", "iter_targets.0", "no job 'evaluat'"),
        ("iter_targets: [-1.loss > 1]", "iter_targets.0", "means something in `input` only"),
        ("iter_targets: [anonymous.evaluate.loss]", "iter_targets.0", "is no target"),
        ("iter_targets: [anonymous.evaluate.loss != 1]", "iter_targets.0", "is no target"),
        ("iter_targets: [anonymous.evaluate.loss > high]", "iter_targets.0", "'high' is no number"),
        ("iter_targets: [anonymous.evaluate.loss > nan]", "iter_targets.0", "'nan' is no number"),
        ("iter_targets: ['__import__(\"os\").x > 1']", "iter_targets.0", "there is no pipeline"),
        (
            "iter_updater: {a.b.c: anonymous.evaluate.extra_configs.lr}",
            "iter_updater.a.b.c",
            "there is no pipeline 'a'",
        ),
        (
            "iter_updater: {anonymous.evaluate.loss: anonymous.train.extra_configs.lr}",
            "iter_updater.anonymous.evaluate.loss",
            "no job 'train'",
        ),
        (
            "iter_updater: {anonymous.evaluate.loss: anonymous.evaluate.extra_configs}",
            "iter_updater.anonymous.evaluate.loss",
            "which key of extra_configs",
        ),
        (
            "iter_updater: {anonymous.evaluate.loss: anonymous.evaluate.lr}",
            "iter_updater.anonymous.evaluate.loss",
            "has to start with dj_configs or extra_configs",
        ),
        (
            "iter_updater: {anonymous.evaluate.loss: anonymous.evaluate.extra_configs.lr.x}",
            "iter_updater.anonymous.evaluate.loss",
            "cannot be set in 1",
        ),
    ],
)
def test_a_target_or_updater_that_names_nothing_is_found_before_the_run(
    settings: str, path: str, complaint: str
) -> None:
    (told,) = errors(iterated(settings))
    assert told.startswith(f"{path}: ")
    assert complaint in told


def test_an_updater_without_a_second_iteration_is_a_warning() -> None:
    (told,) = warnings(iterated("iter_updater: {anonymous.evaluate.loss: anonymous.evaluate.extra_configs.lr}"))
    assert "is never applied" in told


# --- data ---


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
