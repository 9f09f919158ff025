"""The envs of an experiment as they are shown."""

from __future__ import annotations

from typing import Any

from sandbox_actors.cli.view.recorded_envs import document, packages, unrecorded
from sandbox_actors.protocol.rows import EnvRecord, EnvRow, ExperimentDetail
from tests.sandbox_actors.cli.view.view_rows import experiment, job


def record(requested: list[str], versions: dict[str, str], **more: Any) -> EnvRecord:
    spec = {"extra_index": ["https://me:secret@example.org/simple"]}
    known = {"name": "own", "manager": "uv", "python": "3.11.7", "spec": spec}
    return EnvRecord(**{**known, "requested": requested, "packages": versions, **more})


def detail(*envs: list[str]) -> ExperimentDetail:
    rows = [EnvRow(digest="d", record=record([], {}), jobs=jobs) for jobs in envs]
    jobs = [job(0, "succeeded", worker="w-1"), job(1, "succeeded", worker="w-1"), job(2)]
    return ExperimentDetail(experiment=experiment(), iterations=[], jobs=jobs, envs=rows)


def test_the_packages_that_the_spec_asks_for_are_shown_with_their_versions() -> None:
    versions = {"msgspec": "0.22", "torch": "2.13.0+cpu"}
    assert packages(record(["torch"], versions)) == "torch 2.13.0+cpu, 1 others"
    assert packages(record([], versions)) == "2 packages"
    assert packages(record(["ffmpeg"], {}, conda=["ffmpeg=7.1=h1_0"])) == "ffmpeg 7.1"


def test_an_origin_is_shown_without_its_password() -> None:
    origins = {"base": "base @ git+https://me:secret@example.org/base.git@0123abc"}
    shown = packages(record(["base"], {"base": "1.0"}, origins=origins))
    assert shown == "base 1.0 (base @ git+https://***@example.org/base.git@0123abc)"
    row = EnvRow(digest="d", record=record(["base"], {"base": "1.0"}, origins=origins), jobs=["a.b"])
    assert "me:secret" not in str(document(row))
    assert document(row)["jobs"] == ["a.b"]


def test_jobs_whose_env_was_not_recorded_are_named() -> None:
    assert unrecorded(detail(["baseline.job0", "baseline.job1"])) == ""
    assert unrecorded(detail(["baseline.job0"])).startswith("the environments of baseline.job1 were not recorded")
    assert unrecorded(detail()).startswith("the environments of this experiment were not recorded")
