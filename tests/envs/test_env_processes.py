"""Commands as child processes: their output, and that they end with all their children."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from envs import processes
from envs.processes import CommandFailed, Tail, control
from tests.envs.gates import has_ended

pytestmark = pytest.mark.real

ENVIRON = dict(os.environ)


def test_a_string_is_run_by_a_shell_and_a_list_is_not():
    seen = bytearray()
    processes.run("echo $((1 + 2))", environ=ENVIRON, control=control(), output=seen.extend)
    processes.run(["echo", "$((1 + 2))"], environ=ENVIRON, control=control(), output=seen.extend)
    assert seen.decode().splitlines() == ["3", "$((1 + 2))"]


def test_output_is_passed_on_while_the_command_runs(gate):
    seen = []

    def take(data: bytes) -> None:
        seen.append(data)
        gate.open()

    processes.run(f"echo first; {gate.command}; echo second", environ=ENVIRON, control=control(), output=take)
    assert b"".join(seen).split() == [b"first", b"second"]


def test_the_exit_status_is_returned_with_the_last_lines():
    done = processes.run("seq 100; exit 7", environ=ENVIRON, control=control())
    assert done.status == 7
    assert done.tail == [str(number) for number in range(81, 101)]


def test_check_names_the_command_its_status_and_its_last_lines():
    with pytest.raises(CommandFailed) as caught:
        processes.check("echo broken pipe; exit 3", environ=ENVIRON, control=control(), hint=lambda tail: f"see {tail}")
    assert caught.value.tail == ["broken pipe"]
    assert str(caught.value) == (
        "echo broken pipe; exit 3: ended with exit status 3\n  | broken pipe\nsee ['broken pipe']"
    )


def test_a_missing_command_is_a_failed_command():
    with pytest.raises(CommandFailed, match="cannot be started"):
        processes.run(["no-such-program"], environ=ENVIRON, control=control())


def test_a_timeout_ends_children_that_left_the_session(gate):
    with pytest.raises(CommandFailed, match=r"still running after 0\.5 seconds"):
        processes.run(f"setsid sh -c '{gate.command}' & wait", environ=ENVIRON, control=control(timeout=0.5))
    assert has_ended(gate.wait_until_reached())


def test_a_timeout_ends_orphans_and_processes_that_ignore_sigterm(gate):
    command = f"(setsid sh -c 'trap \"\" TERM; {gate.command}' &) ; echo away; sleep 1000"
    with pytest.raises(CommandFailed):
        processes.run(command, environ=ENVIRON, control=control(timeout=0.5))
    assert has_ended(gate.wait_until_reached())


def test_a_child_that_cleared_its_environment_is_ended_too(gate):
    with pytest.raises(CommandFailed):
        processes.run(
            f"env -i setsid /bin/sh -c '{gate.command}' & wait", environ=ENVIRON, control=control(timeout=0.5)
        )
    assert has_ended(gate.wait_until_reached())


def test_ctrl_c_does_not_reach_the_session_of_a_command():
    seen = bytearray()
    command = [sys.executable, "-c", "import os; print(os.getsid(0))"]
    processes.run(command, environ=ENVIRON, control=control(), output=seen.extend)
    assert int(seen) != os.getsid(0)


def test_another_thread_can_cancel(gate):
    cancel = threading.Event()
    canceller = threading.Thread(target=lambda: (gate.wait_until_reached(), cancel.set()))
    canceller.start()
    with pytest.raises(CommandFailed, match="was cancelled"):
        processes.run(gate.command, environ=ENVIRON, control=control(cancel))
    canceller.join()


def test_an_exception_ends_the_command(gate):
    def interrupted(data: bytes) -> None:
        raise KeyboardInterrupt

    asked = control()
    with pytest.raises(KeyboardInterrupt):
        processes.run(f"echo; {gate.command}", environ=ENVIRON, control=asked, output=interrupted)
    assert processes.strays(asked.tag) == []


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # the handle that was never given
def test_an_exception_between_the_fork_and_the_handle_ends_the_command(gate):
    def interrupt(frame, event, _):
        if (event, frame.f_code.co_name) == ("return", "_execute_child"):
            sys.setprofile(None)
            raise KeyboardInterrupt

    asked = control()
    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            processes.run(gate.command, environ=ENVIRON, control=asked)
    finally:
        sys.setprofile(None)
    assert processes.strays(asked.tag) == []


def test_background_processes_of_a_command_continue_and_are_not_waited_for(gate):
    asked = control()
    done = processes.run(f"({gate.command}) & echo started", environ=ENVIRON, control=asked)
    assert done == (0, ["started"])
    assert processes.strays(asked.tag)
    processes.end_tree(asked.tag)
    assert processes.strays(asked.tag) == []


def test_a_large_output_arrives_completely():
    seen = bytearray()
    command = [sys.executable, "-c", "import sys; sys.stdout.write('x' * 3_000_000)"]
    processes.run(command, environ=ENVIRON, control=control(), output=seen.extend)
    assert len(seen) == 3_000_000


def test_a_carriage_return_ends_a_line_that_the_next_one_replaces():
    tail = Tail()
    assert tail.add(b"start\n10%\r20%\r") == ["start", "10%"]
    assert tail.add(b"30%\r\nerror\r") == ["20%", "30%"]
    assert tail.add(b"\nlast") == ["error"]
    assert tail.lines() == ["start", "30%", "error", "last"]


def test_split_characters_are_joined_and_invalid_ones_are_replaced():
    tail = Tail()
    text = "caf\xe9\n".encode()
    assert tail.add(text[:4]) == []
    assert tail.add(text[4:]) == ["caf\xe9"]
    assert len(tail.add(b"\xff\xfe\n")) == 1


def test_a_command_within_a_command_is_ended_with_it(gate):
    cancel = threading.Event()
    command = f"setsid sh -c '{gate.command}' & wait"
    inner = "import os; from envs.processes import control, run; "
    inner += f"run({command!r}, environ=os.environ, control=control())"
    canceller = threading.Thread(target=lambda: (pids.append(gate.wait_until_reached()), cancel.set()))
    pids: list[int] = []
    canceller.start()
    folder = Path(processes.__file__).parents[1]
    with pytest.raises(CommandFailed):
        processes.run([sys.executable, "-c", inner], environ=ENVIRON, control=control(cancel), cwd=folder)
    canceller.join()
    assert has_ended(pids[0])


def test_passwords_in_addresses_are_not_shown():
    command = ["pip", "--index-url=https://me:secret@example.org/simple"]
    assert processes.shown(command) == "pip --index-url=https://***@example.org/simple"


@pytest.mark.parametrize("at", range(1, 40))
def test_what_a_command_prints_is_passed_on_without_credentials_however_it_is_cut(at: int) -> None:
    stream, text = processes._Masked(), b"no \xff access to https://me:secret@example.org/simple: denied\n12 %\r"
    passed = stream.add(text[:at]) + stream.add(text[at:]) + stream.add(b"")
    assert passed == b"no \xff access to https://***@example.org/simple: denied\n12 %\r"


def test_the_error_and_the_log_of_an_installer_hold_no_credentials_of_its_index() -> None:
    log: list[bytes] = []
    program = "import os, sys; print('cannot read ' + os.environ['UV_INDEX_URL'], end=''); sys.exit(2)"
    environ = {**ENVIRON, "UV_INDEX_URL": "https://me:secret@example.org/simple"}
    with pytest.raises(CommandFailed, match=r"cannot read https://\*\*\*@example.org/simple") as failed:
        processes.check([sys.executable, "-c", program], environ=environ, control=control(), output=log.append)
    assert "secret" not in str(failed.value)
    assert b"".join(log) == b"cannot read https://***@example.org/simple"
