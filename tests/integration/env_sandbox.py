"""A sandbox whose envs are its own, with a component that says in which env it runs, and the commands of the shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from sandbox_actors.client.client import Client
from sandbox_actors.protocol.rows import ExperimentDetail

from .conftest import Sandbox

COMMAND = [sys.executable, "-c", "import sys; from sandbox_actors.cli import main; sys.exit(main())"]
ROOT = Path(__file__).parents[2]
LIMIT = 60.0

REPORTS = """import sys
{first}
class Reports:
    def __init__(self, config):
        pass
    def run(self):
        return sys.prefix, {value}
"""


class EnvSandbox(Sandbox):
    """A sandbox with its own envs, and a component `mine:Reports` in `code/`, which returns its env's folder and a
    value."""

    @property
    def code(self) -> Path:
        return self.cwd / "code"

    @property
    def envs(self) -> Path:
        return self.cwd / "envs"

    def write_code(self, value: object, first: str = "") -> Path:
        self.code.mkdir(exist_ok=True)
        (self.code / "mine.py").write_text(REPORTS.format(first=first, value=value))
        return self.code / "mine.py"

    def submit(self, client: Client, env: str = "plain", name: str = "one", **envs: Any) -> str:
        """Submit an experiment file with one job in `env`; its ID."""
        job = {"hook": "GeneralDataExecutorHook", "meta_name": "job", "env": env, "output": ["prefix", "value"]}
        job |= {"component_path": str(self.code), "extra_configs": {"type": "mine:Reports"}}
        document = {"project_name": "tests", "experiment_name": name, "work_dir": str(self.cwd / name), "envs": envs}
        file = self.cwd / f"{name}.json"
        file.write_text(json.dumps({**document, "execution_job_configs": [job]}))
        return client.submit(file)

    def run_job(self, env: str = "plain", **envs: Any) -> ExperimentDetail:
        """Submit the same, and wait for its end."""
        with self.client() as client:
            return self.wait(client, self.submit(client, env, **envs))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        started = self.start_command(*arguments)
        stdout, stderr = started.communicate(timeout=LIMIT)
        return subprocess.CompletedProcess(started.args, started.returncode, stdout, stderr)

    def start_command(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.cwd,
            env={**self.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def listed(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.command("env", "ls", "--json").stdout)
        return listed

    def builders(self) -> list[psutil.Process]:
        """The running builders. A child between fork and exec looks like its parent, and is not counted."""
        parents = {}
        for process in psutil.process_iter():
            try:
                command = process.cmdline()
                if "envs.build_command" in command and str(self.paths.envs) in command:
                    parents[process] = process.ppid()
            except psutil.Error:
                continue
        pids = {process.pid for process in parents}
        return [process for process, parent in parents.items() if parent not in pids]


def value(detail: ExperimentDetail) -> tuple[str, object]:
    """What the component returned: the name of its env's folder, and its value."""
    assert detail.experiment.state == "succeeded", detail.experiment.error
    (output,) = detail.iterations[0].context_infos["anonymous"]
    return Path(output["prefix"]).name, output["value"]
