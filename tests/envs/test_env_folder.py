"""Where envs lie: what counts as finished, who holds the lock, and what is left when the holder dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from envs import processes
from envs.env_folder import Marker, Place
from sandbox_actors.errors import EnvError
from tests.envs.gates import Gate, has_ended

MARKER = Marker(name="a", manager="uv", created=1.0, seconds=2.0)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "envs" / "a")


def fill(place: Place) -> None:
    place.python.parent.mkdir(parents=True)
    place.python.symlink_to(sys.executable)


def test_an_env_is_finished_when_its_making_has_ended(place):
    with place.claimed():
        with place.changing("tag"):
            fill(place)
            place.write_marker(MARKER)
            assert not place.is_finished()
            assert place.read_marker() is None
        assert place.is_finished()
    assert place.read_marker() == MARKER
    assert not place.lock.exists()


def test_nothing_is_left_when_the_making_fails(place):
    def make_halfway() -> None:
        with place.claimed(), place.changing("tag"):
            fill(place)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_halfway()
    assert not place.prefix.exists()
    assert not place.lock.exists()


def test_an_env_whose_python_is_gone_is_not_finished(place, tmp_path):
    place.python.parent.mkdir(parents=True)
    place.python.symlink_to(tmp_path / "uninstalled")
    assert not place.is_finished()


def test_an_env_that_someone_else_made_needs_no_marker(place):
    fill(place)
    assert place.is_finished()
    assert place.read_marker() is None
    place.touch()
    assert place.last_used() == 0


def test_using_an_env_sets_its_time(place):
    fill(place)
    place.write_marker(MARKER)
    os.utime(place.marker, (1, 1))
    assert place.last_used() == 1
    place.touch()
    assert place.last_used() > 1


def test_one_holder_at_a_time_and_the_next_one_is_told_that_it_waits(place):
    waits, order = threading.Event(), []

    def second() -> None:
        with place.claimed(waiting=waits.set):
            order.append("second")

    with place.claimed():
        assert place.is_claimed()
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert not place.is_claimed()
    assert not place.lock.exists()


def test_the_third_waits_for_the_second_though_the_first_has_removed_the_lock_file(place):
    second_waits, second_holds, third_waits, done = (threading.Event() for _ in range(4))

    def second() -> None:
        with place.claimed(waiting=second_waits.set):
            second_holds.set()
            assert third_waits.wait(10)
            done.set()

    with place.claimed():
        thread = threading.Thread(target=second)
        thread.start()
        assert second_waits.wait(10)
    assert second_holds.wait(10)
    with place.claimed(waiting=third_waits.set):
        assert done.is_set()
    thread.join()


@pytest.mark.real
def test_what_a_killed_holder_left_is_found_and_its_commands_are_ended(place, gate: Gate):
    script = (
        "import os, signal, subprocess, sys; from pathlib import Path; from envs import processes\n"
        "from envs.env_folder import Place; place = Place(Path(sys.argv[1]))\n"
        "with place.claimed(), place.changing('left-behind'):\n"
        "    place.python.parent.mkdir(parents=True); place.python.symlink_to(sys.executable)\n"
        "    subprocess.Popen(['setsid', 'sh', '-c', sys.argv[2]], env={**os.environ, processes.TAG: 'left-behind'})\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    folder = os.path.dirname(os.path.dirname(processes.__file__))
    subprocess.run([sys.executable, "-c", script, str(place.prefix), gate.command], cwd=folder, check=False)
    stray = gate.wait_until_reached()
    assert place.python.exists()
    assert not place.is_finished()
    with place.claimed():
        assert has_ended(stray)
        assert place.is_left_over()
        with place.changing("tag"):
            place.clear()
    assert not place.prefix.exists()
    assert not place.lock.exists()


def test_a_folder_that_cannot_be_written_to_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvError, match="cannot be locked"), Place(tmp_path / "file" / "env").claimed():
        pass
