"""A daemon whose disk is full, fails or hangs, or whose store is damaged: answers stay correct, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox_actors.client.client import Client
from sandbox_actors.errors import StoreError
from sandbox_actors.system.paths import find_paths

from .commands import sandbox as command
from .conftest import Sandbox

MOUNTS = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
STRACE = shutil.which("strace")

needs_mounts = pytest.mark.skipif(
    subprocess.run([*MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode != 0,
    reason="a file system of limited size cannot be mounted here",
)
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace, which simulates a failing disk, is not installed")


def returns(value: int = 1) -> dict[str, Any]:
    return {"type": "Returns", "meta_name": "job", "value": value}


def until(is_true: Callable[[], object]) -> None:
    while not is_true():
        time.sleep(0.01)


def log_of(place: Sandbox) -> str:
    return (place.home / "daemon.log").read_text()


def start_with_faults(place: Sandbox, what: str) -> None:
    """Start the daemon under strace, which injects the fault `what` into syncing the store's log."""
    log = place.home / "state.sqlite3-wal"
    options = ["-D", "-f", "-qq", "-o", os.devnull, "--seccomp-bpf", "-e", "trace=fdatasync"]
    place.wrapper = [str(STRACE), *options, "-e", f"inject=fdatasync:{what}", "-P", str(log)]
    place.start()
    place.wrapper = []


@needs_mounts
def test_on_a_full_disk_running_experiments_wait_and_new_ones_are_refused(unserved: Sandbox) -> None:
    home, envs = unserved.home, (unserved.home / "envs").resolve()
    unserved.environ["SANDBOX_SOCKET"] = str(home.parent / "socket")  # reachable from both sides of the mount
    unserved.paths = find_paths(unserved.environ)
    mount = f'mount -t tmpfs -o size=12m,mode=700 none {home} && ln -s {envs} {home}/envs && exec "$@"'
    unserved.wrapper = [*MOUNTS, "sh", "-c", mount, "sh"]
    unserved.start()
    assert unserved.daemon is not None
    filling = Path(f"/proc/{unserved.daemon.pid}/root{home}/filling")
    mine, other = unserved.cwd / "mine", unserved.cwd / "other"
    meets = {"type": "Meets", "meta_name": "meet", "mine": str(mine), "other": str(other)}
    with unserved.client() as client:
        id = client.submit_definition(unserved.definition(meets))
        until(mine.exists)
        with filling.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                other.touch()
        until(lambda: client.status().trouble)
        assert "its disk is full (0.0 MiB free); free some space, and it continues" in client.status().trouble
        assert client.show(id).experiment.state == "running"
        with pytest.raises(StoreError, match="its disk is full"):
            client.submit_definition(unserved.definition(returns()))
        assert "trouble      " in command(unserved, "daemon", "status").stdout
        filling.unlink()
        detail = unserved.wait(client, id)
        assert detail.experiment.state == "succeeded"
        assert [row.id for row in client.experiments()] == [id]
        assert client.status().trouble == ""
    assert "the store is paused: " in log_of(unserved)
    assert "the store continues: " in log_of(unserved)
    unserved.stop()


@pytest.fixture
def small_disk(unserved: Sandbox) -> Iterator[Path]:
    """`unserved` with a home of 12 MiB, which stays when its daemon ends. Gives the file that fills it."""
    home, envs = unserved.home, (unserved.home / "envs").resolve()
    unserved.environ["SANDBOX_SOCKET"] = str(home.parent / "socket")  # reachable from both sides of the mount
    unserved.paths = find_paths(unserved.environ)
    mount = f"mount -t tmpfs -o size=12m,mode=700 none {home} && ln -s {envs} {home}/envs && echo && read end"
    with subprocess.Popen([*MOUNTS, "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        unserved.wrapper = ["nsenter", "--target", str(holder.pid), "--mount", *user]
        yield Path(f"/proc/{holder.pid}/root{home}/filling")
        unserved.stop()
        holder.communicate(b"\n")


def fill(file: Path) -> None:
    with suppress(OSError), file.open("ab", buffering=0) as writing:
        while True:
            writing.write(bytes(4096))


def start_and_fill(place: Sandbox, client: Client, filling: Path) -> str:
    """An experiment whose end cannot be recorded."""
    mine, other = place.cwd / "mine", place.cwd / "other"
    meets = {"type": "Meets", "meta_name": "meet", "mine": str(mine), "other": str(other)}
    id = client.submit_definition(place.definition(meets))
    until(mine.exists)
    fill(filling)
    other.touch()
    until(lambda: client.status().trouble)
    return id


def stopping(place: Sandbox, *arguments: str) -> subprocess.Popen[str]:
    """`sandbox daemon stop`, which returns when this process has seen the end of the daemon too."""
    program = [sys.executable, "-m", "sandbox_actors", "daemon", "stop", *arguments]
    return subprocess.Popen(program, env=place.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@needs_mounts
@pytest.mark.parametrize("how", ["stop --now", "SIGTERM"])
def test_a_daemon_stops_in_bounded_time_on_a_full_disk_and_the_next_one_continues(
    unserved: Sandbox, small_disk: Path, how: str
) -> None:
    unserved.start()
    assert unserved.daemon is not None
    with unserved.client() as client:
        id = start_and_fill(unserved, client, small_disk)
    started = time.monotonic()
    if how == "SIGTERM":
        unserved.daemon.terminate()
        assert unserved.daemon.wait(30) == 0
    else:
        with stopping(unserved, "--now") as stop:
            assert unserved.daemon.wait(30) == 0
            assert stop.stderr is not None
            said = stop.stderr.read()
        assert stop.returncode == 0
        assert "its disk is full (0.0 MiB free)" in said
        assert "What cannot be recorded within seconds, the next daemon finds out" in said
    assert time.monotonic() - started < 20
    assert f"not recorded how these experiments ended, which the next daemon finds out: {id}: " in log_of(unserved)
    assert unserved.processes() == []
    small_disk.unlink()
    unserved.start()
    with unserved.client() as client:
        (job,) = unserved.wait(client, id).jobs
        assert job.state == "failed"  # its result found no place either
        assert f"`sandbox resume {id}` continues where it stopped" in job.error
        client.resume(id)
        assert unserved.wait(client, id).experiment.state == "succeeded"


@needs_mounts
def test_a_stop_that_waits_for_experiments_says_that_they_wait_for_the_disk(
    unserved: Sandbox, small_disk: Path
) -> None:
    unserved.start()
    with unserved.client() as client:
        start_and_fill(unserved, client, small_disk)
    with stopping(unserved) as stop:
        assert stop.stderr is not None
        assert unserved.daemon is not None
        assert "waiting for experiments to end (1 running)" in stop.stderr.readline()
        assert "experiments wait for the disk: " in stop.stderr.readline()
        assert "trouble      " in command(unserved, "daemon", "status").stdout
        small_disk.unlink()
        assert unserved.daemon.wait(30) == 0
        assert "what waited for the disk has been recorded" in stop.stderr.read()
    assert stop.returncode == 0


@needs_strace
def test_after_a_failed_sync_every_answer_is_correct(unserved: Sandbox) -> None:
    start_with_faults(unserved, "error=EIO:when=8..13")
    accepted, refused = [], []
    with unserved.client() as client:
        for number in range(30):
            try:
                accepted.append(client.submit_definition(unserved.definition(returns(number))))
            except StoreError as error:
                refused.append(str(error))
        for id in accepted:
            assert unserved.wait(client, id).experiment.state == "succeeded"
        known = sorted((row.id for row in client.experiments()), key=int)
        assert known == accepted
        values = [client.show(id).iterations[0].context_infos["anonymous"][0]["res_0"] for id in accepted]
    assert len(accepted) + len(refused) == 30
    assert values == sorted(set(values))
    unserved.stop()
    assert refused
    assert "the store continues: " in log_of(unserved)
    unserved.start()
    with unserved.client() as client:
        assert sorted((row.id for row in client.experiments()), key=int) == accepted
        assert all(row.state == "succeeded" for row in client.experiments())
    unserved.stop()


@needs_strace
def test_a_sync_that_hangs_is_reported_to_clients_and_blocks_nothing_else(unserved: Sandbox) -> None:
    start_with_faults(unserved, "delay_enter=8s:when=7")
    errors = []
    with unserved.client() as client:
        for number in range(20):
            try:
                client.submit_definition(unserved.definition(returns(number)))
            except StoreError as error:
                errors.append(str(error))
                break
        assert "its disk has not answered for more than 5 seconds" in errors[0]
        before = time.monotonic()
        assert "has not answered" in client.status().trouble
        assert client.workers() is not None
        assert time.monotonic() - before < 2
        until(lambda: not client.status().trouble)
        for row in client.experiments():
            assert unserved.wait(client, row.id).experiment.state == "succeeded"
        assert len(client.experiments()) == number
    unserved.stop()


def test_a_damaged_store_is_reported_kept_and_recovered(unserved: Sandbox) -> None:
    unserved.start()
    with unserved.client() as client:
        unserved.wait(client, client.submit_definition(unserved.definition(returns())))
    unserved.stop()
    unserved.start()  # writes the backup
    unserved.stop()
    store = unserved.paths.store
    damaged = b"\xa5" * store.stat().st_size
    store.write_bytes(damaged)
    refused = command(unserved, "ls")
    assert refused.returncode == 3
    assert "state.sqlite3: the file is damaged" in refused.stderr
    assert "`sandbox daemon recover`" in refused.stderr
    done = command(unserved, "daemon", "recover")
    assert done.returncode == 0, done.stderr
    assert "1 experiments" in done.stdout
    (kept,) = unserved.home.glob("state.sqlite3.damaged-*")
    assert kept.read_bytes() == damaged
    listed = command(unserved, "ls", "--json")
    assert '"succeeded"' in listed.stdout
    assert "another daemon" in command(unserved, "daemon", "recover").stderr


def test_a_store_that_another_process_has_open_is_not_touched(unserved: Sandbox) -> None:
    unserved.start()
    unserved.stop()
    code = (
        f"import sqlite3; db = sqlite3.connect({str(unserved.paths.store)!r}); db.execute('BEGIN EXCLUSIVE'); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as other:
        until(lambda: Path(f"{unserved.paths.store}-wal").exists())
        refused = command(unserved, "daemon", "start")
        assert refused.returncode == 3
        assert "another process has this store open" in refused.stderr
        other.communicate(b"\n")
    assert command(unserved, "daemon", "start").returncode == 0
