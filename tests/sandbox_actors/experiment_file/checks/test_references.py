"""Dotted names: what `input`, `iter_targets` and `iter_updater` may refer to."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_actors.experiment_file.load import load_experiment
from tests.sandbox_actors.experiment_file.checking import CATALOGUE, CONVERT, errors, executing, in_lists, warnings

pytestmark = pytest.mark.usefixtures("folder_with_data")


def two_pipelines(given: str, wanted: str, max_iter_num: int = 1, config: str = "{type: convert}") -> str:
    """One whose job `give` has these outputs, and one that refers to `wanted`."""
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
def test_an_output_that_an_earlier_job_provides_is_accepted(given: str, wanted: str) -> None:
    Path("sandbox.yaml").write_text(two_pipelines(given, wanted))
    assert load_experiment("sandbox.yaml", [], CATALOGUE).errors == []


@pytest.mark.parametrize(
    ("given", "wanted", "complaint"),
    [
        ("", "frist.give.res_0", "there is no pipeline 'frist'; did you mean 'first'?"),
        ("", "first.given.res_0", "pipeline 'first' has no job 'given'; did you mean 'give'?"),
        (", output: path", "first.give.paht", "job first.give has no output 'paht'; did you mean 'path'?"),
        (", output: path", "first.give.res_0", "job first.give has no output 'res_0'; known: path"),
        ("", "first.give.path", "job first.give has no output 'path'; known: res_0"),
        (", output: path", "first.give", "job first.give: add which of its outputs is meant; known: path"),
        (", output: path", "first", "pipeline 'first' has no job ''"),
        (", output: path", "'-1'", "add which output of the last job is meant"),
        (", output: path", "-1.paht", "the job before, first.give, has no output 'paht'; did you mean 'path'?"),
        ("", "-1.path", "no job before this one has an output 'path'"),
        ("", "second.last.late", "job second.last runs after this one"),
        ("", "second.ask.res_0", "a job cannot use its own output"),
    ],
)
def test_an_output_that_no_earlier_job_provides_is_an_error(given: str, wanted: str, complaint: str) -> None:
    (error,) = errors(two_pipelines(given, wanted))
    assert error.startswith("pipelines.second.probe_job_configs.0.input.extra_configs.a: ")
    assert complaint in error


def test_minus_one_means_the_nearest_earlier_job_with_any_output() -> None:
    quiet = "hook: TrainModelHook, extra_configs: {type: modelscope}"
    sure = "hook: ProcessDataHook, dj_configs: {dataset_path: data.jsonl}"
    asking = CONVERT + ", input: {extra_configs.a: -1.path}"
    giving = CONVERT + ", output: path"
    assert errors(executing(giving, quiet, asking)) == []
    (error,) = errors(executing(giving, sure, asking))
    assert "the job before, anonymous.anonymous_meta_name, has no output 'path'; known: res_0" in error


def test_minus_one_in_the_first_job_of_all_is_an_error() -> None:
    (error,) = errors(executing(CONVERT + ", output: path, input: {extra_configs.a: -1.path}"))
    assert "no job before this one has any output" in error


def test_an_output_of_the_previous_iteration_needs_several_iterations_and_an_initial_value() -> None:
    start = "{type: convert, a: 1}"
    assert errors(two_pipelines("", "second.last.late", max_iter_num=3, config=start)) == []
    (error,) = errors(two_pipelines("", "second.last.late", max_iter_num=3))
    assert "is from the previous iteration, and in the first one extra_configs.a has no value of its own" in error
    assert errors(two_pipelines("", "second.last.late", max_iter_num=3, config="{type: convert, a: '<x>'}"))


def test_two_jobs_of_one_name_provide_the_outputs_of_both() -> None:
    probe = "hook: ProbeViaAnalyzerHook, meta_name: same, dj_configs: {dataset_path: data.jsonl}"
    refine = "hook: RefineRecipeViaKSigmaHook, meta_name: same, output: recipe, extra_configs: {path_k_sigma_recipe: r}"
    ask = CONVERT + ", input: {extra_configs.a: anonymous.same.recipe, extra_configs.b: anonymous.same.res_0}"
    assert errors(in_lists(probe=[probe], refine_recipe=[refine], execution=[ask])) == []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("local: {extra_config.a: 1}", "must start with dj_configs or extra_configs"),
        ("local: {extra_configs.type.a: 1}", "cannot be set in 'convert'"),
        ("local: {extra_configs.items.5: 1}", "no '5' in a list of 1"),
        ("input: {config.a: -1.path}", "must start with dj_configs or extra_configs"),
        ("input: {extra_configs.type.a: -1.path}", "cannot be set in 'convert'"),
    ],
)
def test_a_setting_that_cannot_be_applied_is_an_error(settings: str, complaint: str) -> None:
    job = "hook: GeneralDataExecutorHook, extra_configs: {type: convert, items: [1]}, "
    (error,) = errors(executing(CONVERT + ", output: path", job + settings))
    assert complaint in error


def test_references_are_not_checked_if_jobs_are_missing() -> None:
    reported = errors(
        executing("hook: TrainModelHook", CONVERT) + "\n  - none.yaml\n  - {hook: X, input: {dj_configs: a.b.c}}"
    )
    assert not any("input" in each for each in reported)


def test_references_are_not_checked_if_a_pipeline_is_missing() -> None:
    ask = f"{{{CONVERT}, input: {{extra_configs.a: first.give.path}}}}"
    assert errors(f"pipelines:\n  first: [wrong]\n  second: {{execution_job_configs: [{ask}]}}") == [
        "pipelines.first: must be a mapping, not a list (line 2)"
    ]


def test_a_name_with_a_dot_is_a_warning_because_no_reference_can_mean_it() -> None:
    (error,) = warnings(executing(CONVERT + ", meta_name: a.b"))
    assert "no dotted name can refer to this job" in error


def iterated(settings: str) -> str:
    evaluate = "hook: GeneralDataExecutorHook, meta_name: evaluate, output: loss, extra_configs: {type: convert, lr: 1}"
    return settings + "\n" + executing(evaluate)


def test_targets_and_updaters_of_existing_outputs_are_accepted() -> None:
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
        ("iter_targets: [-1.loss > 1]", "iter_targets.0", "works in `input` only"),
        ("iter_targets: [anonymous.evaluate.loss]", "iter_targets.0", "is not a target"),
        ("iter_targets: [anonymous.evaluate.loss != 1]", "iter_targets.0", "is not a target"),
        (
            "iter_targets: [anonymous.evaluate.loss > high]",
            "iter_targets.0",
            "must be compared with a number, not with 'high'",
        ),
        (
            "iter_targets: [anonymous.evaluate.loss > nan]",
            "iter_targets.0",
            "must be compared with a number, not with 'nan'",
        ),
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
            "must start with dj_configs or extra_configs",
        ),
        (
            "iter_updater: {anonymous.evaluate.loss: anonymous.evaluate.extra_configs.lr.x}",
            "iter_updater.anonymous.evaluate.loss",
            "cannot be set in 1",
        ),
    ],
)
def test_a_target_or_updater_of_something_that_does_not_exist_is_an_error_before_the_run(
    settings: str, path: str, complaint: str
) -> None:
    (error,) = errors(iterated(settings))
    assert error.startswith(f"{path}: ")
    assert complaint in error


def test_an_updater_without_a_second_iteration_is_a_warning() -> None:
    (error,) = warnings(iterated("iter_updater: {anonymous.evaluate.loss: anonymous.evaluate.extra_configs.lr}"))
    assert "is never applied" in error
