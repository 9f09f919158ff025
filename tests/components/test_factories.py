from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import components
from components.factories import FACTORIES, REFINERS, Entry
from envs.specs import load_spec
from sandbox_actors.errors import ConfigError

FOLDER = Path(components.__file__).parent
ENTRIES = [entry for factory in FACTORIES.values() for entry in factory.entries.values()] + [*REFINERS.values()]


def test_there_are_the_ten_factories() -> None:
    assert sorted(FACTORIES) == [
        "DataAnalyzerFactory",
        "DataEvaluatorFactory",
        "DataExecutorFactory",
        "DataPoolManipulatorFactory",
        "GeneralDataExecutorFactory",
        "GeneralProbeFactory",
        "ModelEvaluatorFactory",
        "ModelInferEvaluatorFactory",
        "ModelInferExecutorFactory",
        "ModelTrainExecutorFactory",
    ]
    assert all(name == factory.name for name, factory in FACTORIES.items())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.target)
def test_every_entry_names_a_class_that_exists_and_an_env_that_can_be_made(entry: Entry) -> None:
    module, _, name = entry.target.partition(":")
    tree = ast.parse((FOLDER.parent / module.replace(".", "/")).with_suffix(".py").read_text())
    assert name in [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert load_spec(entry.env).name == entry.env
    assert not entry.keys or {*entry.required, *entry.reads, *entry.model_fields} <= set(entry.keys)


def test_analyzer_and_executor_need_no_type() -> None:
    for name in ("DataAnalyzerFactory", "DataExecutorFactory"):
        assert FACTORIES[name].resolve({"dataset_path": "x"}) == FACTORIES[name].resolve({"type": "data_juicer"})
        assert FACTORIES[name].resolve(None).env == "data-juicer"


def test_an_unknown_type_is_told_with_the_nearest_known() -> None:
    with pytest.raises(ConfigError) as caught:
        FACTORIES["ModelTrainExecutorFactory"].resolve({"type": "transformer"})
    assert str(caught.value).startswith(
        "ModelTrainExecutorFactory: type: unknown type 'transformer', did you mean 'transformers'? "
        "known: modelscope, transformers;"
    )


@pytest.mark.parametrize("config", [None, {}, {"type": None}, {"type": 3}, {"type": "a:b:c"}, {"type": "a b:C"}])
def test_a_missing_or_misshapen_type_is_an_error(config: dict[str, object] | None) -> None:
    with pytest.raises(ConfigError, match=r"ModelEvaluatorFactory: type: "):
        FACTORIES["ModelEvaluatorFactory"].resolve(config)


def test_a_class_of_the_users_own_runs_where_its_job_says() -> None:
    entry = FACTORIES["DataEvaluatorFactory"].resolve({"type": "mine.evaluators:Bleu"})
    assert entry == Entry(target="mine.evaluators:Bleu", is_own=True)


@pytest.mark.real
def test_no_component_imports_a_heavy_library_before_it_runs() -> None:
    names = [path.relative_to(FOLDER.parent).with_suffix("") for path in sorted(FOLDER.rglob("*.py"))]
    modules = [".".join(name.parts) for name in names]
    program = f"""
import importlib, msgspec, sys
before = set(sys.modules)
for name in {modules!r}:
    importlib.import_module(name)
print(*(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=FOLDER.parent
    )
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert imported - sys.stdlib_module_names - {"__mp_main__", "sandbox_actors", "typing_extensions"} == {"components"}
