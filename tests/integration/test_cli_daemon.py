"""Commands and the daemon: starting it, sharing it, replacing it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import listener
from tests.strangers import NEEDS_ROOT, becoming

from .commands import COMMAND, LIMIT, documents, environ_of, job, sandbox, training, until_metric, write
from .conftest import Sandbox


def test_without_a_daemon_the_status_is_3_if_none_may_be_started(unserved: Sandbox) -> None:
    for command in (["ls"], ["ps", "--json"], ["daemon", "status"], ["daemon", "stop"]):
        done = sandbox(unserved, *command, SANDBOX_AUTOSTART="0")
        assert (done.returncode, done.stdout) == (3, "")
        assert "`sandbox daemon start` starts one" in done.stderr
    assert sandbox(unserved, "daemon", "status").returncode == 3


def test_a_daemon_is_started_on_demand_keeps_no_files_of_the_caller_and_can_be_stopped(unserved: Sandbox) -> None:
    file = write(unserved, "first", one=[job("Returns", "give", value=1)])
    shell = subprocess.run(
        ["sh", "-c", f'id=$("$@" run -q {file}) && echo "was $id"', "sh", *COMMAND],
        cwd=unserved.cwd, env=environ_of(unserved), capture_output=True, text=True, timeout=LIMIT, check=True,
    )  # fmt: skip
    assert shell.stdout == "was 1\n"
    (status,) = documents(sandbox(unserved, "daemon", "status", "--json").stdout)
    assert " ".join(status) == "pid socket home version uptime_seconds workers experiments"
    assert os.getsid(status["pid"]) == status["pid"]
    assert {os.readlink(f"/proc/{status['pid']}/fd/{number}") for number in (0, 1, 2)} == {
        os.devnull,
        str(unserved.paths.daemon_log),
    }
    (same,) = documents(sandbox(unserved, "daemon", "start", "--json").stdout)
    assert same["pid"] == status["pid"]
    stopped = sandbox(unserved, "daemon", "stop")
    assert stopped.stdout == f"the daemon (pid {status['pid']}) has stopped\n"
    assert not Path(f"/proc/{status['pid']}").exists()
    assert [row["state"] for row in documents(sandbox(unserved, "ls", "--json").stdout)[0]] == ["succeeded"]


LISTENER = f"""
import socket, sys
{becoming(65534)}
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("listens", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.getuid() != 0, reason=NEEDS_ROOT)
def test_the_daemon_of_another_user_is_named_and_asked_nothing(unserved: Sandbox) -> None:
    folder = Path(tempfile.mkdtemp(prefix="sb-"))
    folder.chmod(0o777)
    path = folder / "daemon.sock"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", LISTENER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "listens\n"
        for command in ("ls", "daemon start"):
            done = sandbox(unserved, *command.split(), SANDBOX_SOCKET=str(path))
            assert (done.returncode, done.stdout) == (3, "")
            assert re.search(r"belongs to the user .*uid 65534.* set SANDBOX_HOME to a folder of your own", done.stderr)
        assert other.stdin is not None
        other.stdin.close()
    shutil.rmtree(folder)


def test_two_commands_that_start_a_daemon_at_once_share_it(unserved: Sandbox) -> None:
    running = [
        subprocess.Popen([*COMMAND, "daemon", "start", "--json"], env=environ_of(unserved), stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    pids = {json.loads(each.communicate(timeout=LIMIT)[0])["pid"] for each in running}
    assert len(pids) == 1


def test_a_daemon_that_cannot_start_says_why(unserved: Sandbox) -> None:
    unserved.paths.store.write_bytes(b"not a database " * 100)
    done = sandbox(unserved, "ls")
    assert done.returncode == 3
    assert "state.sqlite3: the file is damaged" in done.stderr


def test_following_continues_with_the_daemon_that_replaces_a_dead_one(unserved: Sandbox) -> None:
    gate = unserved.cwd / "gate"
    file = write(unserved, "orphan", one=[training(gate=str(gate))])

    def kill_the_daemon(_: subprocess.Popen[str]) -> None:
        with unserved.client() as client:
            os.kill(client.status().pid, signal.SIGKILL)
        gate.touch()

    status, stderr = until_metric(unserved, file, kill_the_daemon)
    assert status == 0
    assert re.search(r"the daemon \(pid \d+\) has died; a new one \(pid \d+\) continues", stderr)
    (points,) = documents(sandbox(unserved, "metrics", "orphan", "loss", "--json").stdout)
    assert [point["step"] for point in points] == [1, 2, 3, 4, 5]


def test_following_ends_when_the_daemon_is_stopped_and_starts_no_other(unserved: Sandbox) -> None:
    file = write(unserved, "stopped", one=[training(gate=str(unserved.cwd / "never"))])
    status, stderr = until_metric(unserved, file, lambda _: sandbox(unserved, "daemon", "stop", "--now"))
    assert status == 3
    assert "has ended" in stderr
    assert listener(unserved.paths.socket) is None


def test_an_idle_daemon_of_another_version_is_replaced_and_a_busy_one_is_not(
    unserved: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("sandbox_actors.client.client.__version__", "9.9")
    with Client(unserved.paths, autostart=True) as client:
        first = client.status().pid
    with Client(unserved.paths, autostart=True) as client:
        second = client.status().pid
        gate = unserved.cwd / "gate"
        id = client.submit_definition(unserved.definition({"type": "Trains", "steps": 2, "gate": str(gate)}))
        with pytest.warns(UserWarning, match=r"this client 9\.9"), Client(unserved.paths, autostart=True) as other:
            assert other.status().pid == second
        gate.touch()
        assert client.wait(id).experiment.id == id
    assert second != first


def test_a_daemon_is_found_by_commands_without_a_login_session_and_by_those_of_the_next_one(unserved: Sandbox) -> None:
    runtime = unserved.home / "run"
    without = {"SANDBOX_HOME": "", "XDG_STATE_HOME": str(unserved.home / "state"), "XDG_RUNTIME_DIR": ""}
    logged_in = {**without, "XDG_RUNTIME_DIR": str(runtime)}
    runtime.mkdir(mode=0o700)
    pid = sandbox(unserved, "daemon", "start", "-q", **logged_in).stdout.strip()
    try:
        assert (runtime / "sandbox-actors" / "daemon.sock").is_socket()
        shutil.rmtree(runtime)  # as at logout
        assert sandbox(unserved, "daemon", "status", "-q", **without).stdout.strip() == pid
        runtime.mkdir(mode=0o700)
        deadline = time.monotonic() + 20
        while not (runtime / "sandbox-actors" / "daemon.sock").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sandbox(unserved, "daemon", "status", "-q", **logged_in).stdout.strip() == pid
        assert (runtime / "sandbox-actors").stat().st_mode & 0o777 == 0o700
    finally:
        assert sandbox(unserved, "daemon", "stop", "--now", **without).returncode == 0
    started_without = sandbox(unserved, "daemon", "start", "-q", **without).stdout.strip()
    assert sandbox(unserved, "daemon", "status", "-q", **logged_in).stdout.strip() == started_without
    assert sandbox(unserved, "daemon", "stop", "--now", **logged_in).returncode == 0


def test_a_command_that_comes_while_a_daemon_ends_starts_the_next_one(unserved: Sandbox) -> None:
    unserved.start()
    assert unserved.daemon is not None
    with unserved.client() as client:
        unserved.run({"type": "Returns", "meta_name": "one", "value": 1})
        (row,) = (row for row in client.workers() if row.component == "returns")
    worker = psutil.Process(row.pid)
    worker.suspend()  # it does not exit when it is asked to, which takes its daemon some seconds
    unserved.daemon.terminate()
    while "stops" not in unserved.paths.daemon_log.read_text():
        assert unserved.daemon.poll() is None
    done = sandbox(unserved, "ls", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["state"] for row in documents(done.stdout)[0]] == ["succeeded"]
    assert unserved.daemon.wait(10) == 0
    assert not worker.is_running()
