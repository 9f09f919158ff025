"""The examples of the README, followed as they are written."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from .commands import sandbox as command
from .conftest import Sandbox

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_a_component_of_the_user_runs_with_live_metrics(sandbox: Sandbox) -> None:
    folder = sandbox.cwd / "my_components"
    folder.mkdir()
    (folder / "my_trainer.py").write_text(block("python"), encoding="utf-8")
    head = "project_name: readme\nexperiment_name: own\nwork_dir: ./outputs\nexecution_job_configs:\n"
    (sandbox.cwd / "own.yaml").write_text(head + textwrap.indent(block("yaml"), "  "), encoding="utf-8")
    ran = command(sandbox, "run", "own.yaml")
    assert ran.returncode == 0, ran.stderr
    with sandbox.client() as client:
        assert [row.step for row in client.metrics("@", "loss")] == list(range(100))
        (entry,) = client.show("@").iterations[0].context_infos["anonymous"]
    assert entry == {"meta_name": "train", "res_0": "path/of/the/model"}


def test_the_two_commands_of_the_readme_are_modules_of_this_project() -> None:
    commands = re.findall(r"^python3 -m (\w+)", README, re.MULTILINE)
    assert commands == ["sandbox_actors", "tests"]
    for module in commands:
        assert (Path(__file__).parents[2] / module / "__main__.py").exists()
