"""Envs beside a daemon: built by experiments and by `sandbox env`, used, protected while in use, and removed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox_actors.client.client import Client

from .env_sandbox import COMMAND, LIMIT, ROOT, EnvSandbox, value


@pytest.fixture
def gated(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """A spec whose build leaves a line in a file, and then waits for a line from a pipe."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    return {"post_install": [f"echo built >> {tmp_path}/builds", f"read line < {gate}"]}, gate


def wait_until_building(client: Client, id: str) -> None:
    """Wait until the build for an experiment has reached its gate, or waits for another build that has."""
    for changed in client.follow(id, interval=0.01):
        labels = [bar.label for bar in (changed.progress or {}).values()]
        if any("commands after" in label or "another build" in label for label in labels):
            return


def test_an_env_in_use_is_kept_until_its_actors_are_stopped_and_built_again_when_needed(
    env_sandbox: EnvSandbox,
) -> None:
    detail = env_sandbox.run_job()
    worker = detail.jobs[0].worker
    (env,) = env_sandbox.listed()
    assert (env["name"], env["state"], env["manager"]) == ("plain", "ready", "uv")
    assert worker in env["workers"]
    shown = env_sandbox.command("env", "show", "plain").stdout
    assert re.search(rf"^used by +.*{worker}", shown, re.M)
    refused = env_sandbox.command("env", "rm", "plain")
    assert refused.returncode == 2
    assert f"sandbox stop {worker}" in refused.stderr
    assert env_sandbox.command("env", "prune", "--unused-for", "0").stdout == ""
    (commands,) = re.findall(r"`(.*)`", refused.stderr)
    for each in commands.split(" && "):
        assert env_sandbox.command(*each.split()[1:]).returncode == 0
    removed = env_sandbox.command("env", "rm", "-q", "plain")
    assert (removed.returncode, removed.stdout) == (0, f"{env['folder']}\n")
    assert list(env_sandbox.envs.iterdir()) == []
    assert value(env_sandbox.run_job()) == (env["folder"], 1)


def test_an_env_built_in_advance_is_used_by_experiments(env_sandbox: EnvSandbox) -> None:
    made = env_sandbox.command("env", "create", "plain")
    assert made.returncode == 0
    assert made.stdout.startswith("plain is ready (built in ")
    assert "2/3 installing the packages of plain" in made.stderr
    folder = env_sandbox.command("env", "create", "-q", "plain").stdout.strip()
    assert value(env_sandbox.run_job()) == (folder, 1)
    *_, ready = map(json.loads, env_sandbox.command("env", "create", "--json", "plain").stdout.splitlines())
    assert (ready["event"], ready["name"], ready["reused"]) == ("ready", "plain", True)


def test_a_missing_requirement_fails_with_the_command_and_leaves_no_env(env_sandbox: EnvSandbox) -> None:
    (env_sandbox.cwd / "broken.yaml").write_text("deps: ['six==0.0.99']\n")
    failed = env_sandbox.command("env", "create", "broken.yaml")
    assert failed.returncode == 1
    assert "uv pip install" in failed.stderr
    assert "there is no version of six==0.0.99" in failed.stderr
    (log,) = env_sandbox.envs.iterdir()
    assert log.suffix == ".log"
    assert log.name in failed.stderr
    *_, event = map(json.loads, env_sandbox.command("env", "create", "--json", "broken.yaml").stdout.splitlines())
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


def test_an_experiment_whose_env_cannot_be_built_fails_and_the_daemon_continues(env_sandbox: EnvSandbox) -> None:
    detail = env_sandbox.run_job("broken", broken={"deps": ["six==0.0.99"]})
    assert [job.state for job in detail.jobs] == ["failed"]
    assert "uv pip install" in detail.jobs[0].error
    assert "there is no version of six==0.0.99" in detail.jobs[0].error
    assert value(env_sandbox.run_job())[1] == 1


def test_a_new_env_that_several_need_at_once_is_built_once(
    env_sandbox: EnvSandbox, gated: tuple[dict[str, Any], Path]
) -> None:
    spec, gate = gated
    (env_sandbox.cwd / "gated.json").write_text(json.dumps(spec))
    with env_sandbox.client() as client:
        ids = [env_sandbox.submit(client, "gated", name, gated=spec) for name in ("one", "two")]
        for id in ids:
            wait_until_building(client, id)
        assert len(env_sandbox.builders()) == 1
        create = env_sandbox.start_command("env", "create", "gated.json")
        assert create.stderr is not None
        assert "waiting for another build of gated" in create.stderr.readline()
        (env,) = env_sandbox.listed()
        assert env["state"] == "building"
        assert "being built" in env_sandbox.command("env", "rm", env["folder"]).stderr
        gate.write_text("\n")
        created, _ = create.communicate(timeout=LIMIT)
        assert "existed already" in created
        assert {value(env_sandbox.wait(client, id)) for id in ids} == {(env["folder"], 1)}
    assert (env_sandbox.cwd / "builds").read_text() == "built\n"


def test_an_interrupted_build_leaves_no_env(env_sandbox: EnvSandbox, gated: tuple[dict[str, Any], Path]) -> None:
    (env_sandbox.cwd / "gated.json").write_text(json.dumps(gated[0]))
    create = env_sandbox.start_command("env", "create", "--json", "gated.json")
    assert create.stdout is not None
    while "commands after" not in create.stdout.readline():
        assert create.poll() is None
    create.send_signal(signal.SIGINT)
    _, stderr = create.communicate(timeout=LIMIT)
    assert (create.returncode, stderr) == (130, "sandbox: interrupted\n")
    assert env_sandbox.builders() == []
    assert [path.suffix for path in env_sandbox.envs.iterdir()] == [".log"]


def test_a_cancelled_experiment_ends_the_build_of_its_env(
    env_sandbox: EnvSandbox, gated: tuple[dict[str, Any], Path]
) -> None:
    spec, _ = gated
    with env_sandbox.client() as client:
        id = env_sandbox.submit(client, "gated", gated=spec)
        wait_until_building(client, id)
        assert len(env_sandbox.builders()) == 1
        assert client.cancel(id).state == "cancelled"
    psutil.wait_procs(env_sandbox.builders(), timeout=LIMIT)
    assert [path.suffix for path in env_sandbox.envs.iterdir()] == [".log"]


def test_the_build_of_an_env_continues_if_another_experiment_needs_it(
    env_sandbox: EnvSandbox, gated: tuple[dict[str, Any], Path]
) -> None:
    spec, gate = gated
    with env_sandbox.client() as client:
        first, second = (env_sandbox.submit(client, "gated", name, gated=spec) for name in ("one", "two"))
        for id in (first, second):
            wait_until_building(client, id)
        client.cancel(first)
        gate.write_text("\n")
        assert value(env_sandbox.wait(client, second))[1] == 1
    assert (env_sandbox.cwd / "builds").read_text() == "built\n"


def test_a_spec_in_the_experiment_file_may_use_any_manager(env_sandbox: EnvSandbox) -> None:
    folder, _ = value(env_sandbox.run_job("own", own={"manager": "venv", "deps": ["six"]}))
    (env,) = env_sandbox.listed()
    assert (env["name"], env["manager"], env["folder"]) == ("own", "venv", folder)
    assert "six" in json.loads(env_sandbox.command("env", "show", "--json", "own").stdout)["packages"]


def test_an_env_of_the_user_is_used_in_place_and_never_removed(env_sandbox: EnvSandbox) -> None:
    own = env_sandbox.cwd / "my env"
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", str(own)], check=True, timeout=LIMIT)
    assert value(env_sandbox.run_job("own", own={"path": str(own)}))[0] == "my env"
    assert env_sandbox.listed() == []
    assert env_sandbox.command("env", "rm", str(own)).returncode == 2
    assert own.exists()


def write_code_base(folder: Path, number: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "base.py").write_text(f'"""A module."""\n__version__ = "1.0"\nnumber = {number}\n')
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core>=3.9"]\nbuild-backend = "flit_core.buildapi"\n'
        '[project]\nname = "base"\nversion = "1.0"\ndescription = "x"\n'
    )


def test_a_changed_local_folder_among_the_deps_gives_another_env(env_sandbox: EnvSandbox) -> None:
    base = env_sandbox.cwd / "base"
    spec = {"deps": [str(base)]}
    env_sandbox.write_code("base.number", first="import base")
    write_code_base(base, 1)
    old = value(env_sandbox.run_job("own", own=spec))
    assert value(env_sandbox.run_job("own", own=spec)) == old
    write_code_base(base, 2)
    new = value(env_sandbox.run_job("own", own=spec))
    assert (old[1], new[1]) == (1, 2)
    assert old[0] != new[0]
    assert env_sandbox.command("env", "show", "own").returncode == 2, "two envs have that name"


def test_a_changed_editable_code_base_is_imported_again_in_the_same_env(env_sandbox: EnvSandbox) -> None:
    base = env_sandbox.cwd / "base"
    spec = {"deps": [f"-e {base}"]}
    env_sandbox.write_code("base.number", first="import base")
    write_code_base(base, 1)
    cold, warm = (env_sandbox.run_job("own", own=spec) for _ in range(2))
    assert [cold.jobs[0].warm, warm.jobs[0].warm] == [False, True]
    write_code_base(base, 22)
    changed = env_sandbox.run_job("own", own=spec)
    assert (value(cold), changed.jobs[0].warm) == ((value(changed)[0], 1), False)
    assert value(changed)[1] == 22
    with env_sandbox.client() as client:
        assert cold.jobs[0].worker not in [row.worker for row in client.workers() if row.state != "stopping"]


def test_an_edited_component_gets_a_new_actor(env_sandbox: EnvSandbox) -> None:
    cold, warm = env_sandbox.run_job(), env_sandbox.run_job()
    assert cold.jobs[0].worker == warm.jobs[0].worker
    (env_sandbox.code / "notes.txt").write_text("not code")
    assert env_sandbox.run_job().jobs[0].warm is True
    env_sandbox.write_code(22)
    changed = env_sandbox.run_job()
    assert value(changed)[1] == 22
    assert changed.jobs[0].warm is False
    with env_sandbox.client() as client:
        kept = [row.worker for row in client.workers() if row.component == "reports" and row.state != "stopping"]
    assert kept == [changed.jobs[0].worker]


def test_edits_in_the_same_second_and_of_the_same_length_are_noticed(env_sandbox: EnvSandbox) -> None:
    second = 4_000_000_000
    found = []
    for number in range(3):
        os.utime(env_sandbox.write_code(number), ns=(0, second * 10**9 + number))
        found.append(value(env_sandbox.run_job())[1])
    assert found == [0, 1, 2]
