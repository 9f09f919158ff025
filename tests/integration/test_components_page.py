"""docs/components.md, followed as it is written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from .commands import ROOT
from .commands import sandbox as command
from .conftest import Sandbox

PAGE = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_files(folder: Path) -> None:
    write(folder / "data" / "greetings.jsonl", blocks("json")[0])
    write(folder / "my_components" / "letters.py", blocks("python")[0])
    write(folder / "letters.yaml", blocks("yaml")[0])


def test_the_component_of_the_page_has_live_metrics_and_stays_warm(sandbox: Sandbox) -> None:
    write_files(sandbox.cwd)
    outputs = []
    for line in blocks("sh")[0].splitlines():
        program, *arguments = shlex.split(line)
        assert program == "sandbox"
        ran = command(sandbox, *arguments)
        assert ran.returncode == 0, ran.stderr
        outputs.append(ran.stdout)
    assert "making the model" in outputs[-1]
    write(sandbox.cwd / "more.jsonl", '{"text": "more of it"}\n')
    setting = "execution_job_configs.0.extra_configs.train_dataset=more.jsonl"
    assert command(sandbox, "run", "letters.yaml", "--set", setting).returncode == 0
    assert "making the model" not in command(sandbox, "logs", "@", "train").stdout
    with sandbox.client() as client:
        first, second = (client.show(name) for name in ("@~1", "@"))
        losses = [row.value for row in client.metrics("@~1", "loss")]
        assert [job.warm for job in (*first.jobs, *second.jobs)] == [False, True]
        assert len(client.metrics("@", "loss")) == 5
    assert losses[0] == pytest.approx(3.2581)
    assert len(losses) > 60
    assert sum(losses[-20:]) < sum(losses[:20])
    setting = "execution_job_configs.0.extra_configs.alphabet=abcdefg"
    assert command(sandbox, "run", "letters.yaml", "--set", setting).returncode == 0
    with sandbox.client() as client:
        assert [job.warm for job in client.show("@").jobs] == [False]


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of the daemon and its clients, with the package of the page installed."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    write(source / "my_package" / "__init__.py", "")
    write(source / "my_package" / "letters.py", blocks("python")[0])
    write(source / "my_package" / "hooks.py", blocks("python")[1])
    write(source / "pyproject.toml", blocks("toml")[0])
    install = [find_uv_bin(), "pip", "install", "-q", "--python", sys.executable, "--target", str(site), "--offline"]
    subprocess.run([*install, str(source)], check=True)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT)]))
    return site


def test_the_entry_points_of_an_installed_package_name_its_classes(installed: Path, sandbox: Sandbox) -> None:
    write_files(sandbox.cwd)
    write(sandbox.cwd / "registered.yaml", blocks("yaml")[1])
    path = os.environ["PYTHONPATH"]
    ran = command(sandbox, "run", "registered.yaml", PYTHONPATH=path)
    assert ran.returncode == 0, ran.stderr
    with sandbox.client() as client:
        assert [row.value for row in client.metrics("@", "count.lines")] == [4]
        infos = client.show("@").iterations[0].context_infos["anonymous"]
    assert infos[0] == {"meta_name": "count", "lines": 4}
    assert infos[1] == {"meta_name": "train", "res_0": "./counts.json"}
    assert (sandbox.cwd / "counts.json").exists()
    for name, misspelt in (("CountLinesHook", "CountLineHook"), ("letters", "leters")):
        write(sandbox.cwd / "wrong.yaml", blocks("yaml")[1].replace(f": {name}\n", f": {misspelt}\n"))
        checked = command(sandbox, "check", "wrong.yaml", PYTHONPATH=path)
        assert checked.returncode == 2
        assert f"did you mean '{name}'?" in checked.stdout + checked.stderr


def test_a_config_may_name_its_env_as_files_of_data_juicer_sandbox_do(sandbox: Sandbox) -> None:
    write_files(sandbox.cwd)
    file = sandbox.cwd / "letters.yaml"
    env_keys = "      env_name: own\n      env_manager: uv\n      env_params:\n        env_py_version: {}.{}\n"
    text = re.sub(r"    env: plain.*\n", "", blocks("yaml")[0]) + env_keys.format(*sys.version_info[:2])
    file.write_text(text, encoding="utf-8")
    assert command(sandbox, "run", "letters.yaml").returncode == 0
    with sandbox.client() as client:
        (actor,) = [row for row in client.workers() if not row.component.endswith("-log")]
    assert actor.env == "own"
    file.write_text(text + "envs:\n  own: plain\n", encoding="utf-8")
    assert command(sandbox, "run", "letters.yaml").returncode == 0
    with sandbox.client() as client:
        envs = {row.env for row in client.workers() if not row.component.endswith("-log")}
    assert envs == {"own", "plain"}


def test_a_hook_may_be_a_class_of_the_user(sandbox: Sandbox) -> None:
    write(sandbox.cwd / "hooks.py", blocks("python")[1])
    job = "  - {hook: 'hooks:CountLinesHook', component_path: ., meta_name: count, extra_configs: {path: hooks.py}}\n"
    write(sandbox.cwd / "own.yaml", f"probe_job_configs:\n{job}")
    ran = command(sandbox, "run", "own.yaml")
    assert ran.returncode == 0, ran.stderr
    with sandbox.client() as client:
        (entry,) = client.show("@").iterations[0].context_infos["anonymous"]
    assert entry == {"meta_name": "count", "res_0": len(blocks("python")[1].splitlines())}
