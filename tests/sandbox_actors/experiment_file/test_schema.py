"""The JSON Schema with which editors complete experiment files: up to date, and consistent with the checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sandbox_actors.experiment_file.document import read_document
from sandbox_actors.experiment_file.schema import LIST_KEYS, ExperimentPart, json_schema
from sandbox_actors.experiment_file.shape import find_mismatches

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "docs" / "experiment.schema.json"

JOB = {"hook": "TrainModelHook", "meta_name": None, "extra_configs": "train.yaml", "dj_configs": None}


def experiment_files() -> list[Path]:
    """Every file in `configs/` that has jobs."""
    found = []
    for file in sorted((ROOT / "configs").rglob("*")):
        if file.suffix in (".yaml", ".yml", ".json"):
            value = read_document(str(file)).value
            if isinstance(value, dict) and ({"pipelines", *LIST_KEYS.values()} & set(value)):
                found.append(file)
    return found


def errors_by_schema(value: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(json_schema()).iter_errors(value)]


def test_the_shipped_schema_is_valid_and_the_one_generated_from_the_structs() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(SHIPPED.read_text()) == json_schema(), "run python -m sandbox_actors.experiment_file.schema"


@pytest.mark.parametrize("file", experiment_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_experiments_in_configs_fit_the_schema(file: Path) -> None:
    assert errors_by_schema(read_document(str(file)).value) == []


@pytest.mark.parametrize(
    "value",
    [
        {"execution_job_configs": [JOB, "job.yaml"], "probe_job_configs": None},
        {"pipelines": [{"a": {"execution_job_configs": [JOB]}}, {"b": None}]},
        {"pipelines": {"a": {"evaluation_job_configs": [{**JOB, "output": ["x", "y"], "input": {"a": "b"}}]}}},
        {"max_iter_num": 0, "iter_targets": "a.b.c > 1", "iter_targets_mode": "any", "hpo_config": {"a": 1}},
        {
            "execution_job_configs": [
                {**JOB, "timeout": "1h", "keep_alive": 3, "resources": {"cpus": 2, "memory": "1G"}}
            ]
        },
    ],
)
def test_what_the_checks_accept_fits_the_schema(value: dict[str, Any]) -> None:
    assert list(find_mismatches(value, ExperimentPart)) == []
    assert errors_by_schema(value) == []


@pytest.mark.parametrize(
    "value",
    [
        {"resum": True},
        {"resume": "yes"},
        {"max_iter_num": -1},
        {"max_iter_num": True},
        {"iter_targets_mode": "some"},
        {"pipelines": {"a": {"execution_jobs": []}}},
        {"execution_job_configs": [{"meta_name": "no hook"}]},
        {"execution_job_configs": [{**JOB, "metaname": "a"}]},
        {"execution_job_configs": [{**JOB, "resources": {"cpus": 0}}]},
        {"execution_job_configs": [{**JOB, "output": [3]}]},
        {"execution_job_configs": {"hook": "a"}},
        [],
    ],
)
def test_what_the_checks_refuse_does_not_fit_the_schema(value: Any) -> None:
    assert list(find_mismatches(value, ExperimentPart)) != []
    assert errors_by_schema(value) != []
