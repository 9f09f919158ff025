"""Every way in which an experiment file can have the wrong shape, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sandbox_actors.errors import ConfigError
from sandbox_actors.experiment.model import Experiment, Job, Pipeline, freeze, thaw
from sandbox_actors.experiment_file.load import load_experiment, read_config
from tests.sandbox_actors.experiment_file.loading import errors_of, folder, load, write

__all__ = ["folder"]

pytestmark = pytest.mark.usefixtures("folder")

JOB = "{hook: TrainModelHook, meta_name: train}"


def test_every_wrong_key_and_type_of_a_file_is_reported_at_once_with_its_line_and_the_nearest_name() -> None:
    assert errors_of("""\
project_name: 3
resum: true
max_iter_num: -1
iter_targets_mode: some
execution_job_configs:
  - hook: TrainModelHook
    metaname: train
    retries: often
    resources: {cpu: 2, gpus: -1}
  - meta_name: nameless
  - 7
""") == [
        "sandbox.yaml: project_name: must be text, not 3; quote it (line 1)",
        "sandbox.yaml: resum: an experiment has no key 'resum'; did you mean 'resume'? (line 2)",
        "sandbox.yaml: max_iter_num: must be 0 or more, not -1 (line 3)",
        "sandbox.yaml: iter_targets_mode: must be 'all' or 'any', not the text 'some' (line 4)",
        "sandbox.yaml: execution_job_configs.0.metaname: "
        "a job has no key 'metaname'; did you mean 'meta_name'? (line 7)",
        "sandbox.yaml: execution_job_configs.0.retries: must be a whole number, not the text 'often' (line 8)",
        "sandbox.yaml: execution_job_configs.0.resources.cpu: "
        "resources has no key 'cpu'; did you mean 'cpus'? (line 9)",
        "sandbox.yaml: execution_job_configs.0.resources.gpus: must be 0 or more, not -1 (line 9)",
        "sandbox.yaml: execution_job_configs.1.hook: a job needs the key 'hook' (line 10)",
        "sandbox.yaml: execution_job_configs.2: must be a mapping or text, not 7 (line 11)",
    ]


def test_a_wrong_element_in_a_list_of_texts_is_reported_with_what_else_is_wrong() -> None:
    job = "{hook: TrainModelHook, output: [right, 3, 4], retries: -1}"
    assert errors_of(f"iter_targets: [3]\npipelines: {{output: {{execution_job_configs: [{job}]}}}}") == [
        "sandbox.yaml: iter_targets.0: must be text, not 3; quote it (line 1)",
        *(
            f"sandbox.yaml: pipelines.output.execution_job_configs.0.{wrong} (line 2)"
            for wrong in (
                "output.1: must be text, not 3; quote it",
                "output.2: must be text, not 4; quote it",
                "retries: must be 0 or more, not -1",
            )
        ),
    ]


LONG = "x" * 1_000_000


def test_names_and_paths_that_no_list_and_no_folder_can_hold_are_refused_with_their_limit() -> None:
    found = errors_of(f"""\
project_name: {LONG}
experiment_name: {LONG}
work_dir: {LONG}
pipelines:
  - {"é" * 101}:
      execution_job_configs:
        - {{hook: TrainModelHook, meta_name: {LONG}, output: [{LONG}, "a\\0b"], env: {LONG}, component_path: {LONG}}}
""")
    assert sum(map(len, found)) < 2_000
    assert [error.partition(": ")[2] for error in found] == [
        "project_name: may have 200 characters, and has 1,000,000 (line 1)",
        "experiment_name: may have 200 characters, and has 1,000,000 (line 2)",
        "work_dir: may have 1,000 characters, and has 1,000,000 (line 3)",
        *(
            f"pipelines.0.{'é' * 101}.execution_job_configs.0.{key}: {message} (line 7)"
            for key, message in [
                ("meta_name", "may have 200 characters, and has 1,000,000"),
                ("output.0", "may have 200 characters, and has 1,000,000"),
                ("output.1", r"contains '\x00', which is neither text nor part of a path"),
                ("env", "may have 1,000 characters, and has 1,000,000"),
                ("component_path", "may have 1,000 characters, and has 1,000,000"),
            ]
        ),
    ]


def test_a_definition_with_longer_names_does_not_thaw() -> None:
    job = Job(hook="TrainModelHook")
    pipeline = Pipeline(name="p", execution_jobs=[job])
    whole = Experiment(project_name="p", experiment_name="e", work_dir="w", pipelines=[pipeline])
    for longer in (
        msgspec.structs.replace(whole, experiment_name=LONG),
        msgspec.structs.replace(whole, work_dir=LONG),
        msgspec.structs.replace(whole, pipelines=[msgspec.structs.replace(pipeline, name=LONG)]),
        *(
            msgspec.structs.replace(
                whole, pipelines=[Pipeline(name="p", execution_jobs=[msgspec.structs.replace(job, **{key: LONG})])]
            )
            for key in ("hook", "meta_name", "env", "component_path")
        ),
    ):
        with pytest.raises(ConfigError, match="length <= ") as caught:
            thaw(freeze(longer))
        assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "sandbox.yaml: must be a mapping, not empty"),
        ("- a", "sandbox.yaml: must be a mapping, not a list"),
        ("work_dir: a", "sandbox.yaml: has no jobs"),
        ("execution_job_configs:", "sandbox.yaml: has no jobs"),
        ("pipelines: {a: }", "sandbox.yaml: has no jobs"),
        ("pipelines: 3", "sandbox.yaml: pipelines: must be a list or a mapping, not 3"),
        ("execution_job_configs: {hook: a}", "sandbox.yaml: execution_job_configs: must be a list, not a mapping"),
        (f"pipelines: {{a: [{JOB}]}}", "sandbox.yaml: pipelines.a: must be a mapping, not a list"),
        (
            f"pipelines:\n  - a:\n    execution_job_configs: [{JOB}]",
            "sandbox.yaml: pipelines.0: must have one key, the pipeline's name",
        ),
        (
            f"pipelines: {{a: {{execution_job_configs: [{JOB}]}}}}\nprobe_job_configs: [{JOB}]",
            "sandbox.yaml: pipelines: there are jobs outside it too, in probe_job_configs",
        ),
        (
            f"pipelines:\n  - a: {{execution_job_configs: [{JOB}]}}\n  - a: {{execution_job_configs: [{JOB}]}}",
            "sandbox.yaml: pipelines.1.a: there are 2 pipelines called 'a' (line 3)",
        ),
        (
            f"pipelines:\n  a: {{execution_job_configs: [{JOB}]}}\n  a: {{execution_job_configs: [{JOB}]}}",
            "sandbox.yaml: pipelines.a: the key occurs twice in one mapping (line 3)",
        ),
        ("execution_job_configs: [{hook: TrainModelHook, timeout: soon}]", "'soon' is not a duration"),
        (
            "execution_job_configs: [{hook: TrainModelHook, resources: {memory: lots}}]",
            "'lots' is not an amount of memory",
        ),
        ("execution_job_configs: [{hook: TrainModelHook, meta_name: ../x}]", "'../x' cannot be the name of a job"),
        (f"pipelines: {{a/b: {{execution_job_configs: [{JOB}]}}}}", "'a/b' cannot be the name of a pipeline"),
        ("execution_job_configs: [{hook: TrainModelHook, output: [a, a]}]", "names 'a' 2 times"),
        ("execution_job_configs: [{hook: TrainModelHook, output: meta_name}]", "'meta_name' is the key"),
        ("execution_job_configs: [{hook: TrainModelHook, component_path: none}]", "there is no folder 'none'"),
        ("execution_job_configs: [{hook: TrainModelHook, dj_configs: 3}]", "must be a mapping or text, not 3"),
        ("execution_job_configs: [{hook: TrainModelHook, input: {extra_configs.a: 3}}]", "must be text, not 3"),
    ],
)
def test_a_file_that_is_not_an_experiment_has_an_error_that_says_why(text: str, error: str) -> None:
    assert any(error in each for each in errors_of(text))


def test_an_error_in_a_file_that_is_named_is_reported_with_the_name_and_line_of_that_file() -> None:
    write("lr: 1\nlr: 2\n", "train.yaml")
    write("hook: TrainModelHook\ntimeot: 3\n", "job.yaml")
    write("- a\n", "list.yaml")
    assert errors_of("""
execution_job_configs:
  - {hook: TrainModelHook, extra_configs: train.yaml}
  - {hook: TrainModelHook, extra_configs: train.yaml}
  - {hook: TrainModelHook, extra_configs: list.yaml}
  - job.yaml
  - {hook: TrainModelHook, extra_configs: trains.yaml}
  - {hook: TrainModelHook, extra_configs: {train.yaml: }}
  - jobs.yaml
""") == [
        "sandbox.yaml: execution_job_configs.6: there is no file 'jobs.yaml'; did you mean 'job.yaml'? (line 9)",
        "train.yaml: lr: the key occurs twice in one mapping (line 2)",
        "list.yaml: must contain a mapping",
        "sandbox.yaml: execution_job_configs.4.extra_configs: "
        "there is no file 'trains.yaml'; did you mean 'train.yaml'? (line 7)",
        "job.yaml: timeot: a job has no key 'timeot'; did you mean 'timeout'? (line 2)",
    ]


def test_a_path_that_exists_beside_the_file_but_not_in_the_current_folder_is_pointed_out() -> None:
    write("lr: 1\n", "deep/train.yaml")
    loaded = load("execution_job_configs: [{hook: TrainModelHook, extra_configs: train.yaml}]", "deep/sandbox.yaml")
    assert "from the current folder, and there is one at deep/train.yaml" in loaded.errors[0].message


def test_requiring_an_experiment_with_errors_raises_all_of_them() -> None:
    with pytest.raises(ConfigError, match="must be text") as raised:
        load("project_name: 3").require()
    assert [problem.path for problem in raised.value.problems] == ["project_name", ""]


TRAIN = "execution_job_configs: [{hook: TrainModelHook, meta_name: train, extra_configs: {a: 1}}]"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("envs.e.deps.0", "envs: {e: {deps: ['pkg @ git+https://hunter2@host/pkg']}}"),
        ("hpo_config.base", "hpo_config: {base: 'https://me:hunter2@host'}"),
        ("work_dir", "work_dir: 's3://KEY:hunter2@bucket/out'"),
        ("hpo_config", "hpo_config: {'HTTPS://me:hunter2@host': 1}"),
        ("experiment_name", "experiment_name: |\n  text\n  https://host/?sig=hunter2\n"),
    ],
)
def test_credentials_anywhere_in_a_file_are_refused_and_not_repeated(place: str, text: str) -> None:
    loaded = load(f"{text}\n{TRAIN}")
    assert loaded.experiment is None
    assert [each for each in loaded.errors if each.path == place and "sees a secret in it" in each.message]
    assert "hunter2" not in repr(loaded)


def test_credentials_in_an_override_or_the_name_of_a_file_are_refused_and_not_repeated() -> None:
    loaded = load_experiment(write(TRAIN), ["anonymous.train.extra_configs.base_url=https://me:hunter2@host/v1"])
    assert [each.path for each in loaded.errors if each.file == "--set"]
    named = load_experiment(write(TRAIN), ["anonymous.train.extra_configs=https://me:hunter2@host/config.yaml"])
    assert loaded.experiment is named.experiment is None
    assert "hunter2" not in repr(loaded) + repr(named)


def test_credentials_in_a_config_that_is_read_when_its_job_starts_are_refused(folder: Path) -> None:
    write("api: {base_url: 'https://me:hunter2@host/v1'}\n", "late.yaml")
    with pytest.raises(ConfigError, match=r"api\.base_url: everyone") as refused:
        read_config("late.yaml", str(folder))
    assert "hunter2" not in str(refused.value)


def test_a_config_that_is_read_when_its_job_starts_is_a_mapping_or_an_error(folder: Path) -> None:
    write("a: 1\n", "late/config.yaml")
    write("", "late/empty.yaml")
    write("- 1\n", "late/list.yaml")
    assert read_config("late/config.yaml", str(folder)) == {"a": 1}
    assert read_config("empty.yaml", str(folder / "late")) == {}
    for name in ("late/list.yaml", "late/none.yaml"):
        with pytest.raises(ConfigError):
            read_config(name, str(folder))
