"""Homes, folders and definitions that somebody has prepared, and homes that are removed under a daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox_actors.client.connection import Connection
from sandbox_actors.errors import ConfigError, DaemonEnds
from sandbox_actors.system.paths import find_paths
from tests.strangers import NEEDS_ROOT, STRANGER, becoming

from .commands import COMMAND, job, sandbox, write
from .conftest import Sandbox


def until(is_true: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.02)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# --- prepared folders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [os.geteuid(), STRANGER])
def test_a_daemon_does_not_start_on_a_folder_that_leads_elsewhere(unserved: Sandbox, owner: int) -> None:
    if owner == STRANGER and os.geteuid() != 0:
        pytest.skip("only root can make folders of another user: run the tests as root")
    docs = unserved.cwd / "docs"
    (docs / "thesis").mkdir(parents=True)
    (docs / "thesis" / "chapter").write_text("years of work")
    short = unserved.paths.short
    short.mkdir()
    try:
        (short / "scratch").symlink_to(docs)
        short.chmod(0o1777)
        os.chown(short, owner, -1)
        refused = sandbox(unserved, "ls")
    finally:
        shutil.rmtree(short)
    assert refused.returncode == 3
    what = "belongs to another user (uid 54321)" if owner == STRANGER else "scratch is a link"
    assert f"{short}" in refused.stderr
    assert what in refused.stderr
    assert "set TMPDIR to a folder of your own" in refused.stderr
    assert files_below(docs) == {"thesis", "thesis/chapter"}


@pytest.mark.parametrize("folder", ["runs", "bundles"])
def test_a_link_in_the_home_is_not_followed_where_things_are_removed(unserved: Sandbox, folder: str) -> None:
    docs = unserved.cwd / "docs"
    (docs / "thesis").mkdir(parents=True)
    (unserved.home / folder).symlink_to(docs)
    file = write(unserved, "one", main=[job("Returns", "first", value=1)])
    refused = sandbox(unserved, "run", file)
    assert refused.returncode in (1, 3)
    assert f"{folder} is a link, which is not followed there; remove it, or set SANDBOX_HOME" in refused.stderr
    assert files_below(docs) == {"thesis"}


def test_a_home_that_was_open_to_others_is_closed_even_without_a_umask(unserved: Sandbox) -> None:
    unserved.home.chmod(0o777)
    unserved.wrapper = ["sh", "-c", 'umask 0; exec "$@"', "sh"]
    unserved.start()
    assert unserved.run({"type": "Returns", "meta_name": "one", "value": 1}).experiment.state == "succeeded"
    private = [unserved.home, unserved.paths.short, unserved.paths.scratch]
    private += [unserved.home / each for each in ("bundles", "runs", "workers")]
    assert {path.name: f"{path.stat().st_mode & 0o777:o}" for path in private} == {path.name: "700" for path in private}


LISTENS_AS_ANOTHER_USER = f"""
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
{becoming()}
server.listen()
while True:
    connection, _ = server.accept()
    connection.settimeout(20)
    print(connection.recv(1000), flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason=NEEDS_ROOT)
def test_a_worker_waits_for_its_own_daemon_while_another_user_listens(sandbox: Sandbox) -> None:
    assert sandbox.run({"type": "Returns", "meta_name": "one", "value": 1}).experiment.state == "succeeded"
    with sandbox.client() as client:
        before = {row.pid for row in client.workers()}
    sandbox.kill()
    sandbox.paths.worker_socket.unlink()
    stranger = subprocess.Popen(
        [sys.executable, "-I", "-c", LISTENS_AS_ANOTHER_USER, str(sandbox.paths.worker_socket)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert stranger.stdout is not None
        assert [stranger.stdout.readline() for _ in range(2 * len(before))] == ["b''\n"] * 2 * len(before)
    finally:
        stranger.kill()
        stranger.communicate()
    sandbox.start()
    with sandbox.client() as client:
        until(lambda: {row.pid for row in client.workers() if row.state == "idle"} == before)


# --- definitions that no client of ours has made ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../../escaped", "/tmp/escaped", "..", "nul\0", "x" * 5000, ""])
def test_a_hostile_name_is_refused_and_nothing_is_written(served: Sandbox, name: str) -> None:
    definition = served.definition({"type": "Returns", "meta_name": "one", "value": 1})
    definition["experiment"]["pipelines"][0]["name"] = name
    with served.client() as client:
        before = len(client.experiments())
        with pytest.raises(ConfigError, match=r"pipelines(\.0|\[0\])\.name"):
            client.submit_definition(definition)
        with pytest.raises(ConfigError, match=r"pipelines(\.0|\[0\])\.execution_jobs(\.0|\[0\])\.meta_name"):
            client.submit_definition(served.definition({"type": "Returns", "meta_name": name}))
        if name not in ("", ".."):
            with pytest.raises(ConfigError, match="work_dir"):
                client.submit_definition(served.definition({"type": "Returns"}, work_dir=f"{'y' * 300}{name}"))
        assert len(client.experiments()) == before
    assert not [path for path in files_below(served.home) if "escaped" in path]


@pytest.mark.parametrize("env", ["no/such/env", "../x", "e" * 255, "~no-such-user/env"])
def test_an_env_of_a_strange_name_fails_its_job_only(served: Sandbox, env: str) -> None:
    definition = served.definition({"type": "Returns", "meta_name": "one", "value": 1})
    definition["experiment"]["pipelines"][0]["execution_jobs"][0]["env"] = env
    with served.client() as client:
        shown = served.wait(client, client.submit_definition(definition))
        assert shown.experiment.state == "failed"
        assert env[:20] in shown.jobs[0].error
        assert "Traceback" not in shown.jobs[0].error


# --- users without a home folder --------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", ["relative", "/proc/nothing"])
@pytest.mark.parametrize(
    "program",
    [
        [*COMMAND, "ls"],
        [*COMMAND, "daemon", "keys", "mine"],
        [*COMMAND, "env", "create", "plain"],
        [sys.executable, "-m", "sandbox_actors.daemon"],
    ],
)
def test_a_user_without_a_home_folder_is_told_what_to_set(tmp_path: Path, home: str, program: list[str]) -> None:
    unset = {"SANDBOX_HOME", "SANDBOX_SOCKET", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"}
    environ = {key: value for key, value in os.environ.items() if key not in unset}
    environ |= {"HOME": home, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(program, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (1, 2)
    assert "set SANDBOX_HOME to" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who is on no list: run the tests as root")
def test_a_user_who_is_on_no_list_is_told_what_to_set() -> None:
    program = f"""
from sandbox_actors.errors import SandboxError
from sandbox_actors.system.paths import find_paths
{becoming()}
try:
    find_paths({{}})
except SandboxError as error:
    print(error)
print(find_paths({{"SANDBOX_HOME": "/h"}}).home)
"""
    environ = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("this user (uid 54321) has no home folder")
    assert "set SANDBOX_HOME" in first
    assert second == "/h"


# --- homes that are removed under a daemon ----------------------------------------------------------------------------


def remove_home(place: Sandbox) -> None:
    place.home.rename(place.home.with_name("removed"))
    shutil.rmtree(place.home.with_name("removed"))


def remove_store(place: Sandbox) -> None:
    place.paths.store.unlink()


def replace_lock(place: Sandbox) -> None:
    place.paths.lock.unlink()
    place.paths.lock.touch()


@pytest.mark.parametrize("remove", [remove_home, remove_store, replace_lock])
def test_a_daemon_whose_home_is_removed_ends_and_the_next_command_starts_another(
    unserved: Sandbox, remove: Callable[[Sandbox], None]
) -> None:
    envs = (unserved.home / "envs").resolve()
    unserved.start()
    assert unserved.daemon is not None
    log = os.open(unserved.paths.daemon_log, os.O_RDONLY)
    assert unserved.run({"type": "Returns", "meta_name": "one", "value": 1}).experiment.state == "succeeded"
    remove(unserved)
    assert unserved.daemon.wait(20) == 0
    until(lambda: unserved.processes() == [])
    lines = os.read(log, 100_000).decode()
    os.close(log)
    assert "was removed or replaced, so this daemon ends; the next command starts another one" in lines
    assert unserved.home.exists() is (remove is not remove_home), "the daemon that ends does not make it again"
    if remove is remove_home:
        unserved.home.mkdir(mode=0o700)
        (unserved.home / "envs").symlink_to(envs)
    file = write(unserved, "again", main=[job("Returns", "first", value=1)])
    done = sandbox(unserved, "run", file)
    assert done.returncode == 0, done.stderr


def test_a_command_right_after_the_home_was_removed_gets_a_new_daemon(unserved: Sandbox) -> None:
    """The socket is elsewhere, as that of the default home is, so that the daemon that ends still listens."""
    envs = (unserved.home / "envs").resolve()
    unserved.environ["SANDBOX_SOCKET"] = str(unserved.home.with_name("runtime") / "daemon.sock")
    unserved.paths = find_paths(unserved.environ)
    unserved.start()
    assert unserved.daemon is not None
    assert unserved.run({"type": "Returns", "meta_name": "one", "value": 1}).experiment.id == "1"
    file = write(unserved, "again", main=[job("Returns", "first", value=1)])
    remove_home(unserved)
    unserved.home.mkdir(mode=0o700)
    (unserved.home / "envs").symlink_to(envs)
    with pytest.raises(DaemonEnds, match=r"daemon\.lock was removed, and the daemon \(pid \d+\) ends"):
        Connection(unserved.paths.socket).close()
    done = sandbox(unserved, "run", "-q", file)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert unserved.daemon.wait(20) == 0


def test_folders_that_are_removed_under_a_daemon_are_made_again(sandbox: Sandbox) -> None:
    assert sandbox.run({"type": "Returns", "meta_name": "one", "value": 1}).experiment.state == "succeeded"
    for name in ("bundles", "logs", "workers", "runs", "experiments"):
        shutil.rmtree(sandbox.home / name)
    shutil.rmtree(sandbox.paths.short)
    with sandbox.client() as client:
        for row in client.workers():
            client.stop_worker(row.worker)
    shown = sandbox.run({"type": "Returns", "meta_name": "two", "value": 2})
    assert [row.error for row in shown.jobs] == [""]
    assert shown.experiment.state == "succeeded"
    made = {each for each in ("bundles", "logs", "workers", "experiments") if any((sandbox.home / each).iterdir())}
    assert made == {"bundles", "logs", "workers", "experiments"}
