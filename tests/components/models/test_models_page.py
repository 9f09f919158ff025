"""docs/models.md names every key, and its examples are what it says."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from components.evaluators.harness import HarnessSettings
from components.evaluators.perplexity import PerplexitySettings
from components.factories import FACTORIES
from components.models.modelscope_trainer import ModelscopeTraining
from components.models.training import WHO, Training
from components.struct_settings import read_settings

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## `{title}`$(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def keys(title: str) -> set[str]:
    """Those in the first cells of its table."""
    rows = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("transformers", Training),
        ("modelscope", ModelscopeTraining),
        ("lm_eval", HarnessSettings),
        ("perplexity", PerplexitySettings),
    ],
)
def test_every_key_is_on_the_page_and_no_other(title: str, kind: type[msgspec.Struct]) -> None:
    assert keys(title) == set(kind.__struct_fields__)


def test_the_examples_are_configs_of_their_types() -> None:
    training, tasks = (yaml.safe_load(text)[0] for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    assert read_settings(training["extra_configs"], Training, WHO).learning_rate == 2e-4
    assert read_settings(tasks["extra_configs"], HarnessSettings, "lm_eval").tasks == ["my_task"]
    for job, factory in ((training, "ModelTrainExecutorFactory"), (tasks, "ModelEvaluatorFactory")):
        assert job["extra_configs"]["type"] in FACTORIES[factory].entries
