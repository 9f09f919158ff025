"""The folder of an env: when it is finished, who holds its lock, and what a killed holder leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from envs import processes
from envs.env_folder import EnvFolder, Marker
from sandbox_actors.errors import EnvError
from tests.envs.gates import Gate, has_ended

MARKER = Marker(name="a", manager="uv", created=1.0, seconds=2.0)


@pytest.fixture
def folder(tmp_path):
    return EnvFolder(tmp_path / "envs" / "a")


def fill(folder: EnvFolder) -> None:
    folder.python.parent.mkdir(parents=True)
    folder.python.symlink_to(sys.executable)


def test_an_env_is_finished_when_its_creation_has_ended(folder):
    with folder.claimed():
        with folder.changing("tag"):
            fill(folder)
            folder.write_marker(MARKER)
            assert not folder.is_finished()
            assert folder.read_marker() is None
        assert folder.is_finished()
    assert folder.read_marker() == MARKER
    assert not folder.lock.exists()


def test_nothing_is_left_when_the_creation_fails(folder):
    def make_halfway() -> None:
        with folder.claimed(), folder.changing("tag"):
            fill(folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_halfway()
    assert not folder.prefix.exists()
    assert not folder.lock.exists()


def test_an_env_whose_python_is_gone_is_not_finished(folder, tmp_path):
    folder.python.parent.mkdir(parents=True)
    folder.python.symlink_to(tmp_path / "uninstalled")
    assert not folder.is_finished()


def test_an_env_of_the_user_needs_no_marker(folder):
    fill(folder)
    assert folder.is_finished()
    assert folder.read_marker() is None
    folder.touch()
    assert folder.last_used() == 0


def test_using_an_env_sets_its_time(folder):
    fill(folder)
    folder.write_marker(MARKER)
    os.utime(folder.marker, (1, 1))
    assert folder.last_used() == 1
    folder.touch()
    assert folder.last_used() > 1


def test_there_is_one_holder_at_a_time_and_the_next_one_knows_that_it_waits(folder):
    waits, order = threading.Event(), []

    def second() -> None:
        with folder.claimed(waiting=waits.set):
            order.append("second")

    with folder.claimed():
        assert folder.is_claimed()
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert not folder.is_claimed()
    assert not folder.lock.exists()


def test_the_third_waits_for_the_second_though_the_first_has_removed_the_lock_file(folder):
    second_waits, second_holds, third_waits, done = (threading.Event() for _ in range(4))

    def second() -> None:
        with folder.claimed(waiting=second_waits.set):
            second_holds.set()
            assert third_waits.wait(10)
            done.set()

    with folder.claimed():
        thread = threading.Thread(target=second)
        thread.start()
        assert second_waits.wait(10)
    assert second_holds.wait(10)
    with folder.claimed(waiting=third_waits.set):
        assert done.is_set()
    thread.join()


@pytest.mark.real
def test_the_remains_of_a_killed_holder_are_found_and_its_commands_are_ended(folder, gate: Gate):
    script = (
        "import os, signal, subprocess, sys; from pathlib import Path; from envs import processes\n"
        "from envs.env_folder import EnvFolder; folder = EnvFolder(Path(sys.argv[1]))\n"
        "with folder.claimed(), folder.changing('left-behind'):\n"
        "    folder.python.parent.mkdir(parents=True); folder.python.symlink_to(sys.executable)\n"
        "    subprocess.Popen(['setsid', 'sh', '-c', sys.argv[2]], env={**os.environ, processes.TAG: 'left-behind'})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    repository = os.path.dirname(os.path.dirname(processes.__file__))
    subprocess.run([sys.executable, "-c", script, str(folder.prefix), gate.command], cwd=repository, check=False)
    stray = gate.wait_until_reached()
    assert folder.python.exists()
    assert not folder.is_finished()
    with folder.claimed():
        assert has_ended(stray)
        assert folder.is_left_over()
        with folder.changing("tag"):
            folder.clear()
    assert not folder.prefix.exists()
    assert not folder.lock.exists()


def test_a_folder_that_cannot_be_written_to_is_an_env_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvError, match="cannot be locked"), EnvFolder(tmp_path / "file" / "env").claimed():
        pass


def test_a_link_in_place_of_the_lock_is_not_followed(folder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder.prefix.parent.mkdir()
    folder.lock.symlink_to(precious)
    with pytest.raises(EnvError, match="cannot be locked"), folder.claimed(), folder.changing("tag"):
        pass
    assert precious.read_text() == "precious"
