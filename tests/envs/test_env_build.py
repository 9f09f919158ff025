"""`python -m envs.build_command`: one build for all who need an env, and no incomplete env, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envs.env_folder import MARKER
from tests.envs.builders import BuilderProcess, build
from tests.envs.code_bases import write_code_base
from tests.envs.gates import has_ended

pytestmark = pytest.mark.real


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "envs root"


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_an_env_is_built_once_and_found_again(root):
    spec = {"deps": ["six"], "post_install": ["echo said afterwards"]}
    with BuilderProcess(root, spec) as builder:
        first = builder.finish()
    assert first["event"] == "ready", first
    assert first["status"] == 0
    assert first["reused"] is False
    stages = [(event["done"], event["total"]) for event in builder.events[:-1]]
    assert stages == sorted(stages)
    assert stages[0] == (0, 4)
    subprocess.run([first["python"], "-I", "-c", "import six, zmq, msgspec"], check=True)
    log = Path(first["path"] + ".log").read_text()
    assert "uv pip install" in log
    assert "said afterwards" in log
    marker = json.loads(Path(first["path"], MARKER).read_text())
    assert marker["spec"]["deps"] == ["six"]
    assert marker["seconds"] == first["seconds"]
    again = build(root, spec)
    assert again == {**first, "reused": True}


def test_a_shipped_spec_is_built_by_its_name(root):
    assert build(root, "plain")["event"] == "ready"
    assert folders(root)[0].startswith("plain-")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"deps": ["six==0.0.99"]}, "six==0.0.99"),
        ({"python": "3.99"}, "3.99"),
        ({"post_install": ["echo the last words; exit 5"]}, "the last words"),
        ({"post_install": ["rm -r lib/python3*/site-packages/msgspec"]}, "msgspec"),
    ],
)
def test_a_failed_build_reports_the_reason_keeps_its_log_and_leaves_no_env(root, spec, message):
    failed = build(root, spec)
    assert failed["event"] == "failed"
    assert failed["status"] == 1
    assert failed["command"] in failed["message"]
    assert any(message in line for line in failed["tail"])
    assert message in Path(failed["log"]).read_text()
    assert [path for path in root.iterdir() if path.suffix != ".log"] == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"manager": "vnev"}, "did you mean 'venv'"),
        ({"deps": ["/no/such/folder"]}, "/no/such/folder does not exist"),
        ({"path": "/no/such/env"}, "no env with a python at /no/such/env"),
        ("{broken", "neither JSON nor"),
        ("no-such-spec", "no env spec or env of that name"),
    ],
)
def test_an_invalid_spec_is_reported_as_an_event(root, spec, message):
    failed = build(root, spec)
    assert failed["event"] == "failed"
    assert failed["status"] == 1
    assert message in failed["message"]


def test_one_of_two_builders_builds_and_the_other_waits(root, gate):
    spec = {"post_install": [gate.command]}
    with BuilderProcess(root, spec) as first, BuilderProcess(root, spec) as second:
        gate.wait_until_reached()
        waiting, building = (first, second), (second, first)
        order = waiting if first.next_event()["message"].startswith("waiting") else building
        if order is building:
            second.wait_for("waiting for another build")
        gate.open()
        ready = [first.finish(), second.finish()]
    assert [event["event"] for event in ready] == ["ready", "ready"]
    assert sorted(event["reused"] for event in ready) == [False, True]
    assert len(folders(root)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_build_with_every_process_that_it_started(root, gate, number):
    with BuilderProcess(root, {"post_install": [f"setsid sh -c '{gate.command}' & wait"]}) as builder:
        stray = gate.wait_until_reached()
        builder.process.send_signal(number)
        last = builder.finish()
    assert (last["event"], last["message"], last["status"]) == ("failed", "cancelled", 128 + number)
    assert has_ended(stray)
    assert [path.suffix for path in root.iterdir()] == [".log"]


def test_the_remains_of_a_killed_builder_are_not_an_env_and_are_removed_by_the_next_one(root, gate):
    spec = {"post_install": [f"test -e '{root}/second' || setsid sh -c '{gate.command}'"]}
    with BuilderProcess(root, spec) as builder:
        stray = gate.wait_until_reached()
        builder.process.kill()
        builder.process.wait()
    assert not has_ended(stray)
    assert not Path(root, folders(root)[0], MARKER).exists()
    (root / "second").write_text("")
    ready = build(root, spec)
    assert (ready["event"], ready["reused"]) == ("ready", False)
    assert has_ended(stray)
    assert not list(root.glob("*.lock"))


def test_a_builder_whose_output_is_closed_continues(root, gate):
    spec = {"post_install": [gate.command]}
    with BuilderProcess(root, spec) as builder:
        gate.wait_until_reached()
        builder.process.stdout.close()
        gate.open()
        assert builder.process.wait() == 0
    assert build(root, spec)["reused"] is True


def test_a_second_signal_does_not_interrupt_the_clean_up(root, gate):
    with BuilderProcess(root, {"post_install": [gate.stubborn_command]}) as builder:
        stubborn = gate.wait_until_reached()
        builder.process.terminate()
        assert gate.wait_for_word() == "ending"
        builder.process.terminate()
        assert builder.finish()["status"] == 128 + signal.SIGTERM
    assert has_ended(stubborn)
    assert [path.suffix for path in root.iterdir()] == [".log"]


def test_processes_that_a_build_left_running_are_ended(root, gate):
    with BuilderProcess(root, {"post_install": [f"setsid sh -c '{gate.command}' >/dev/null 2>&1 &"]}) as builder:
        assert builder.finish()["event"] == "ready"
    assert has_ended(gate.wait_until_reached())


def test_project_files_in_the_current_folder_are_ignored(root, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "uv.toml").write_text("offline = true\n[pip]\nno-index = true\n")
    with BuilderProcess(root, {"deps": ["six"]}, cwd=project) as builder:
        assert builder.finish()["event"] == "ready"


def test_commands_run_in_the_env_before_and_after_its_packages(root):
    ready = build(
        root,
        {
            "deps": ["six"],
            "pre_install": ["python -c 'import six' 2>/dev/null || touch before"],
            "post_install": [["python", "-c", "import six, sys; open('after', 'w').write(sys.prefix)"]],
        },
    )
    assert ready["event"] == "ready", ready
    assert Path(ready["path"], "before").exists()
    assert Path(ready["path"], "after").read_text() == ready["path"]


def test_a_changed_local_folder_gives_another_env(root, tmp_path):
    folder = write_code_base(tmp_path / "lib", "locallib", 1)
    first = build(root, {"deps": [str(folder)]})
    write_code_base(folder, "locallib", 22)
    second = build(root, {"deps": [str(folder)]})
    assert second["reused"] is False
    command = ["-I", "-c", "import locallib; print(locallib.value)"]
    values = [subprocess.check_output([ready["python"], *command], text=True) for ready in (first, second)]
    assert values == ["1\n", "22\n"]


def test_packages_are_only_added_to_an_env_that_its_user_manages(root, tmp_path):
    mine = tmp_path / "mine"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(mine)], check=True)
    (mine / "kept").write_text("")
    first, second = build(root, {"path": str(mine), "deps": ["six"]}), build(root, {"path": str(mine), "deps": ["six"]})
    assert (first["event"], first["path"], first["reused"]) == ("ready", str(mine), False), first
    assert second["reused"] is True
    subprocess.run([first["python"], "-I", "-c", "import six, zmq, msgspec"], check=True)
    assert (mine / "kept").exists()
    assert not (mine / MARKER).exists()
    assert not Path(f"{mine}.lock").exists()


def test_a_full_disk_is_reported_and_leaves_no_env(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        failed = build(disk / "envs", {})
        assert failed["event"] == "failed"
        assert "disk is full" in failed["message"]
        assert [path for path in (disk / "envs").iterdir() if path.suffix != ".log"] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_build_does_not_see_the_hosts_python_environment(root, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}:{tmp_path}".lstrip(":"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    ready = build(
        root, {"post_install": ["python -c 'import os, sys; print(os.environ.get(\"PYTHONPATH\"), file=sys.stderr)'"]}
    )
    assert "\nNone\n" in Path(ready["path"] + ".log").read_text()
    assert list(Path(ready["path"]).glob("lib/python3*/site-packages/msgspec/__pycache__/*.pyc"))
