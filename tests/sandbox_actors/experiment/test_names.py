"""Names in a definition that no client of ours has made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_actors.daemon.work_dir import WorkDir
from sandbox_actors.errors import ConfigError
from sandbox_actors.experiment.model import Experiment, Job, Pipeline, number_jobs
from sandbox_actors.experiment.names import check_names, file_name

HOSTILE = ["", ".", "..", "../../x", "/etc/passwd", "a/b", "nul\0", "x" * 5000]


def experiment(pipeline: str = "p", work_dir: str = "out", **job: str) -> Experiment:
    jobs = [Job(hook="h", meta_name="fine"), Job(hook="h", **{"meta_name": "m", **job})]
    lists = Pipeline(name=pipeline, execution_jobs=jobs)
    return Experiment(project_name="p", experiment_name="e", work_dir=work_dir, pipelines=[lists])


@given(st.text())
def test_any_name_becomes_one_short_printable_part_of_a_path(name: str) -> None:
    made = file_name(name)
    assert made not in ("", ".", "..")
    assert "/" not in made
    assert made.isprintable()
    assert len(os.fsencode(made)) <= 200


def test_a_name_that_a_file_can_have_stays_and_long_ones_stay_different() -> None:
    assert [file_name(each) for each in ("train", "1.a b.训练", "..a")] == ["train", "1.a b.训练", "..a"]
    assert file_name("训" * 200) != file_name("训" * 199 + "练")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_by_its_key(name: str) -> None:
    with pytest.raises(ConfigError, match=r"pipelines\.0\.name: .* cannot be the name of a pipeline"):
        check_names(experiment(pipeline=name), "/")
    with pytest.raises(ConfigError, match=r"pipelines\.0\.execution_jobs\.1\.meta_name: .* be the name of a job"):
        check_names(experiment(meta_name=name), "/")


@pytest.mark.parametrize("path", ["nul\0", "x" * 300, "x/" * 3000])
def test_a_path_that_cannot_exist_is_refused_by_its_key(path: str) -> None:
    for key, made in (
        ("work_dir", experiment(work_dir=path)),
        ("env", experiment(env=path)),
        ("component_path", experiment(component_path=path)),
    ):
        with pytest.raises(ConfigError, match=key):
            check_names(made, "/")
    for cwd in (f"/{path}", "relative", ""):
        with pytest.raises(ConfigError, match=r"cwd: .* must be an absolute path"):
            check_names(experiment(), cwd)


def test_ordinary_names_and_paths_are_accepted() -> None:
    check_names(experiment("训练", "../elsewhere", meta_name="a.b c\n", env="../env", component_path="~/code"), "/tmp")


@pytest.mark.parametrize("name", HOSTILE)
def test_links_to_logs_stay_in_the_work_dir_whatever_the_names(tmp_path: Path, name: str) -> None:
    jobs = number_jobs(experiment(pipeline=name, meta_name=name))
    work_dir = WorkDir(tmp_path / "work", jobs, has_iterations=True)
    work_dir.make()
    work_dir.link_log(1, 1, tmp_path / "home" / "x.log")
    made = {path.parent.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_dir()}
    assert made == {Path("work/log"), Path("work/log/iter_1")}
