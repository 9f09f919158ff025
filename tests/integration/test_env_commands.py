"""Envs beside a daemon: built by experiments and by `sandbox env`, used, protected while in use, and removed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

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


class Place(Sandbox):
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


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("WANDB_MODE", "disabled")  # the exporter would need an env of its own
    folder = Path(tempfile.mkdtemp(prefix="sb-"))
    (tmp_path / "envs").mkdir()
    made = Place(folder / "home", tmp_path, tmp_path / "envs")
    made.write_code(1)
    try:
        made.start()
        yield made
        made.stop()
        assert made.processes() == []
    finally:
        if made.daemon is not None:
            made.daemon.kill()
            made.daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def gated(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """A spec whose build leaves a line in a file, and then waits for a line from a pipe."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    return {"post_install": [f"echo built >> {tmp_path}/builds", f"read line < {gate}"]}, gate


def value(detail: ExperimentDetail) -> tuple[str, object]:
    """What the component returned: the name of its env's folder, and its value."""
    assert detail.experiment.state == "succeeded", detail.experiment.error
    (output,) = detail.iterations[0].context_infos["anonymous"]
    return Path(output["prefix"]).name, output["value"]


def wait_until_building(client: Client, id: str) -> None:
    """Wait until the build for an experiment has reached its gate, or waits for another build that has."""
    for changed in client.follow(id, interval=0.01):
        labels = [bar.label for bar in (changed.progress or {}).values()]
        if any("commands after" in label or "another build" in label for label in labels):
            return


def test_an_env_in_use_is_kept_until_its_actors_are_stopped_and_built_again_when_needed(place: Place) -> None:
    detail = place.run_job()
    worker = detail.jobs[0].worker
    (env,) = place.listed()
    assert (env["name"], env["state"], env["manager"]) == ("plain", "ready", "uv")
    assert worker in env["workers"]
    shown = place.command("env", "show", "plain").stdout
    assert re.search(rf"^used by +.*{worker}", shown, re.M)
    refused = place.command("env", "rm", "plain")
    assert refused.returncode == 2
    assert f"sandbox stop {worker}" in refused.stderr
    assert place.command("env", "prune", "--unused-for", "0").stdout == ""
    (commands,) = re.findall(r"`(.*)`", refused.stderr)
    for each in commands.split(" && "):
        assert place.command(*each.split()[1:]).returncode == 0
    removed = place.command("env", "rm", "-q", "plain")
    assert (removed.returncode, removed.stdout) == (0, f"{env['folder']}\n")
    assert list(place.envs.iterdir()) == []
    assert value(place.run_job()) == (env["folder"], 1)


def test_an_env_built_in_advance_is_used_by_experiments(place: Place) -> None:
    made = place.command("env", "create", "plain")
    assert made.returncode == 0
    assert made.stdout.startswith("plain is ready (built in ")
    assert "2/3 installing the packages of plain" in made.stderr
    folder = place.command("env", "create", "-q", "plain").stdout.strip()
    assert value(place.run_job()) == (folder, 1)
    *_, ready = map(json.loads, place.command("env", "create", "--json", "plain").stdout.splitlines())
    assert (ready["event"], ready["name"], ready["reused"]) == ("ready", "plain", True)


def test_a_missing_requirement_fails_with_the_command_and_leaves_no_env(place: Place) -> None:
    (place.cwd / "broken.yaml").write_text("deps: ['six==0.0.99']\n")
    failed = place.command("env", "create", "broken.yaml")
    assert failed.returncode == 1
    assert "uv pip install" in failed.stderr
    assert "there is no version of six==0.0.99" in failed.stderr
    (log,) = place.envs.iterdir()
    assert log.suffix == ".log"
    assert log.name in failed.stderr
    *_, event = map(json.loads, place.command("env", "create", "--json", "broken.yaml").stdout.splitlines())
    assert (event["event"], event["name"]) == ("failed", "broken")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "nowhere"], "no env spec or env of that name"),
        (["show", "nowhere"], "there is no env 'nowhere'"),
        (["rm", "nowhere"], "there is no env 'nowhere'"),
        (["prune", "--unused-for", "soon"], "'soon' is not a duration"),
    ],
)
def test_an_unknown_env_or_spec_is_a_usage_error(tmp_path: Path, arguments: list[str], message: str) -> None:
    home = tmp_path / "home"
    environ = {**os.environ, "SANDBOX_HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*COMMAND, "env", *arguments], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert not home.exists(), "no daemon was started"


def test_an_experiment_whose_env_cannot_be_built_fails_and_the_daemon_continues(place: Place) -> None:
    detail = place.run_job("broken", broken={"deps": ["six==0.0.99"]})
    assert [job.state for job in detail.jobs] == ["failed"]
    assert "uv pip install" in detail.jobs[0].error
    assert "there is no version of six==0.0.99" in detail.jobs[0].error
    assert value(place.run_job())[1] == 1


def test_a_new_env_that_several_need_at_once_is_built_once(place: Place, gated: tuple[dict[str, Any], Path]) -> None:
    spec, gate = gated
    (place.cwd / "gated.json").write_text(json.dumps(spec))
    with place.client() as client:
        ids = [place.submit(client, "gated", name, gated=spec) for name in ("one", "two")]
        for id in ids:
            wait_until_building(client, id)
        assert len(place.builders()) == 1
        create = place.start_command("env", "create", "gated.json")
        assert create.stderr is not None
        assert "waiting for another build of gated" in create.stderr.readline()
        (env,) = place.listed()
        assert env["state"] == "building"
        assert "being made" in place.command("env", "rm", env["folder"]).stderr
        gate.write_text("\n")
        created, _ = create.communicate(timeout=LIMIT)
        assert "existed already" in created
        assert {value(place.wait(client, id)) for id in ids} == {(env["folder"], 1)}
    assert (place.cwd / "builds").read_text() == "built\n"


def test_an_interrupted_build_leaves_no_env(place: Place, gated: tuple[dict[str, Any], Path]) -> None:
    (place.cwd / "gated.json").write_text(json.dumps(gated[0]))
    create = place.start_command("env", "create", "--json", "gated.json")
    assert create.stdout is not None
    while "commands after" not in create.stdout.readline():
        assert create.poll() is None
    create.send_signal(signal.SIGINT)
    _, stderr = create.communicate(timeout=LIMIT)
    assert (create.returncode, stderr) == (130, "sandbox: interrupted\n")
    assert place.builders() == []
    assert [path.suffix for path in place.envs.iterdir()] == [".log"]


def test_a_cancelled_experiment_ends_the_build_of_its_env(place: Place, gated: tuple[dict[str, Any], Path]) -> None:
    spec, _ = gated
    with place.client() as client:
        id = place.submit(client, "gated", gated=spec)
        wait_until_building(client, id)
        assert len(place.builders()) == 1
        assert client.cancel(id).state == "cancelled"
    psutil.wait_procs(place.builders(), timeout=LIMIT)
    assert [path.suffix for path in place.envs.iterdir()] == [".log"]


def test_the_build_of_an_env_continues_if_another_experiment_needs_it(
    place: Place, gated: tuple[dict[str, Any], Path]
) -> None:
    spec, gate = gated
    with place.client() as client:
        first, second = (place.submit(client, "gated", name, gated=spec) for name in ("one", "two"))
        for id in (first, second):
            wait_until_building(client, id)
        client.cancel(first)
        gate.write_text("\n")
        assert value(place.wait(client, second))[1] == 1
    assert (place.cwd / "builds").read_text() == "built\n"


def test_a_spec_in_the_experiment_file_may_use_any_manager(place: Place) -> None:
    folder, _ = value(place.run_job("own", own={"manager": "venv", "deps": ["six"]}))
    (env,) = place.listed()
    assert (env["name"], env["manager"], env["folder"]) == ("own", "venv", folder)
    assert "six" in json.loads(place.command("env", "show", "--json", "own").stdout)["packages"]


def test_an_env_of_the_user_is_used_in_place_and_never_removed(place: Place) -> None:
    own = place.cwd / "my env"
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", str(own)], check=True, timeout=LIMIT)
    assert value(place.run_job("own", own={"path": str(own)}))[0] == "my env"
    assert place.listed() == []
    assert place.command("env", "rm", str(own)).returncode == 2
    assert own.exists()


def write_code_base(folder: Path, number: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "base.py").write_text(f'"""A module."""\n__version__ = "1.0"\nnumber = {number}\n')
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core>=3.9"]\nbuild-backend = "flit_core.buildapi"\n'
        '[project]\nname = "base"\nversion = "1.0"\ndescription = "x"\n'
    )


def test_a_changed_local_folder_among_the_deps_gives_another_env(place: Place) -> None:
    base = place.cwd / "base"
    spec = {"deps": [str(base)]}
    place.write_code("base.number", first="import base")
    write_code_base(base, 1)
    old = value(place.run_job("own", own=spec))
    assert value(place.run_job("own", own=spec)) == old
    write_code_base(base, 2)
    new = value(place.run_job("own", own=spec))
    assert (old[1], new[1]) == (1, 2)
    assert old[0] != new[0]
    assert place.command("env", "show", "own").returncode == 2, "two envs have that name"


def test_a_changed_editable_code_base_is_imported_again_in_the_same_env(place: Place) -> None:
    base = place.cwd / "base"
    spec = {"deps": [f"-e {base}"]}
    place.write_code("base.number", first="import base")
    write_code_base(base, 1)
    cold, warm = (place.run_job("own", own=spec) for _ in range(2))
    assert [cold.jobs[0].warm, warm.jobs[0].warm] == [False, True]
    write_code_base(base, 22)
    changed = place.run_job("own", own=spec)
    assert (value(cold), changed.jobs[0].warm) == ((value(changed)[0], 1), False)
    assert value(changed)[1] == 22
    with place.client() as client:
        assert cold.jobs[0].worker not in [row.worker for row in client.workers() if row.state != "stopping"]


def test_an_edited_component_gets_a_new_actor(place: Place) -> None:
    cold, warm = place.run_job(), place.run_job()
    assert cold.jobs[0].worker == warm.jobs[0].worker
    (place.code / "notes.txt").write_text("not code")
    assert place.run_job().jobs[0].warm is True
    place.write_code(22)
    changed = place.run_job()
    assert value(changed)[1] == 22
    assert changed.jobs[0].warm is False
    with place.client() as client:
        kept = [row.worker for row in client.workers() if row.component == "reports" and row.state != "stopping"]
    assert kept == [changed.jobs[0].worker]


def test_edits_in_the_same_second_and_of_the_same_length_are_noticed(place: Place) -> None:
    second = 4_000_000_000
    found = []
    for number in range(3):
        os.utime(place.write_code(number), ns=(0, second * 10**9 + number))
        found.append(value(place.run_job())[1])
    assert found == [0, 1, 2]
