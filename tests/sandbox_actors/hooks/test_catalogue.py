"""The catalogue of this installation, and the checks against it and the machine."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from envs.specs import MANAGERS
from sandbox_actors.errors import ConfigError
from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.experiment_file.load import load_experiment
from sandbox_actors.hooks.builtin import BUILTIN_HOOKS
from sandbox_actors.hooks.catalogue import load_catalogue
from sandbox_actors.hooks.registry import find_hook
from sandbox_actors.system.machine import Machine

GIB = 1024**3


def test_env_managers_are_searched_for_when_they_are_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("MAMBA_EXE", "CONDA_EXE"):
        monkeypatch.delenv(name, raising=False)
    managers = load_catalogue().managers
    assert managers["uv"] == ""
    assert "micromamba is not on the PATH" in managers["micromamba"]
    assert set(managers) == set(MANAGERS)


def test_the_known_hooks_are_those_that_can_be_run() -> None:
    assert set(load_catalogue().hooks) == set(BUILTIN_HOOKS)
    with pytest.raises(ConfigError, match="there is no hook 'TrainModleHook'; did you mean 'TrainModelHook'"):
        find_hook("TrainModleHook")


def test_the_resources_of_a_job_are_checked_against_those_of_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    resources = {"cpus": 4, "gpus": 2, "memory": "3GiB"}
    job = {"hook": "GeneralDataExecutorHook", "extra_configs": {"type": "x:Y"}, "resources": resources}
    file.write_bytes(msgspec.json.encode({"execution_job_configs": [job]}))
    small, large = Machine(cpus=2, memory=2 * GIB), Machine(cpus=4, memory=4 * GIB, gpus=("0", "1"))
    found = load_experiment(str(file), [], Catalogue(machine=small))
    assert "asks for 2 gpus, and this machine has none" in str(found.errors)
    assert "asks for 4 cpus and gets the 2 that this machine has" in str(found.warnings)
    assert "allows 3.0 GiB, and this machine has 2.0 GiB" in str(found.warnings)
    fits = load_experiment(str(file), [], Catalogue(machine=large))
    assert (fits.errors, fits.warnings) == ([], [])


@pytest.mark.parametrize("hook", ["ProbeViaAnalyzerHook", "ProcessDataHook", "RefineRecipeViaKSigmaHook"])
def test_the_settings_of_a_recipe_are_checked_and_the_nearest_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.jsonl").write_text("{}\n")
    recipe = {"dataset_path": "data.jsonl", "export_path": "out.jsonl", "exprot_type": "jsonl", "np": 2}
    recipe["data_probe_algo"] = "unifrom"
    jobs = [{"hook": hook, "meta_name": "probe", "dj_configs": recipe}]
    Path("sandbox.yaml").write_text(json.dumps({"probe_job_configs": jobs}))
    problems = [
        error for error in load_experiment("sandbox.yaml", [], load_catalogue()).errors if "dj_configs" in error.path
    ]
    assert [(problem.path.rpartition(".")[2], problem.message.partition(";")[2]) for problem in problems] == [
        ("exprot_type", " did you mean 'export_type'? (line 1)"),
        ("data_probe_algo", " known: uniform, topk, frequency, range, tags (line 1)"),
    ]
