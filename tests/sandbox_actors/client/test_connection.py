"""A client's connection, with daemons that answer correctly, incorrectly, late, or not at all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox_actors.cli.exit_status import NO_DAEMON, status_of
from sandbox_actors.client import connection
from sandbox_actors.client.connection import Connection, listener
from sandbox_actors.errors import (
    AnothersDaemon,
    ComponentFailed,
    ConfigError,
    DaemonUnreachable,
    NotFound,
    Problem,
    ProtocolError,
    Refused,
    SandboxError,
)
from sandbox_actors.protocol.client_requests import GetStatus
from sandbox_actors.protocol.faults import Fault, fault_of
from sandbox_actors.protocol.frames import MAX_FRAME, Abandon, Ask, Failed, Reply, Request, TurnedAway, encode
from sandbox_actors.protocol.unix_socket import anothers_daemon
from sandbox_actors.transport.connection import turned_away
from tests.sandbox_actors.client.scripted_daemon import scripted_daemon, welcoming


class Names(Request[list[str]], frozen=True, kw_only=True):
    """As no daemon is asked, to be answered by the tests' own."""

    of: str = ""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "daemon.sock"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENCE", 0.05)
    monkeypatch.setattr(connection, "GREETING_TIMEOUT", 0.2)


def reply(ask: Ask, value: Any) -> bytes:
    return encode(Reply(id=ask.id, body=msgspec.Raw(encode(value))))


def is_for_status(ask: Ask) -> bool:
    return bool(msgspec.msgpack.decode(ask.body)["type"] == GetStatus.__name__)


def test_an_answer_is_decoded(path: Path) -> None:
    with scripted_daemon(path, welcoming(lambda ask: [reply(ask, ["a", "b"])])):
        link = Connection(path)
        assert link.ask(Names()) == ["a", "b"]
        assert link.pid == link.daemon.pid == os.getpid()
        link.close()


@pytest.mark.parametrize("leftover", ["nothing", "dead socket", "file"])
def test_a_missing_daemon_is_noticed_at_once(path: Path, leftover: str) -> None:
    if leftover == "dead socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    elif leftover == "file":
        path.write_text("")
    with pytest.raises(DaemonUnreachable, match=r"no daemon answers at .*daemon.sock; `sandbox daemon start`"):
        Connection(path)


@pytest.mark.usefixtures("impatient")
def test_a_listener_that_does_not_greet_is_given_up(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        with pytest.raises(DaemonUnreachable, match=f"pid {os.getpid()}.*does not answer"):
            Connection(path)


def test_a_daemon_of_another_protocol_is_an_error_with_both_versions(path: Path) -> None:
    turned_away = TurnedAway(fault=Fault(code="protocol", message="no"), protocol=99, version="9.9")
    with (
        scripted_daemon(path, lambda frame: [encode(turned_away)]),
        pytest.raises(ProtocolError, match=r"speaks protocol 1, the daemon \(version 9\.9, pid \d+\) speaks 99"),
    ):
        Connection(path)


def test_a_client_that_is_refused_as_another_user_gets_the_owner_and_the_status_of_no_daemon(path: Path) -> None:
    refusal = turned_away(anothers_daemon(path, 4_000_000))
    with (
        scripted_daemon(path, lambda frame: [refusal]),
        pytest.raises(AnothersDaemon, match="with uid 4000000") as caught,
    ):
        Connection(path)
    assert status_of(caught.value) == NO_DAEMON


@pytest.mark.parametrize("answer", [b"", b"\xc1", b"GET / HTTP/1.1", encode({"type": "Welcome"}), b"\x91" * 100_000])
def test_a_peer_that_is_not_a_daemon_is_a_protocol_error(path: Path, answer: bytes) -> None:
    with scripted_daemon(path, lambda frame: [answer]), pytest.raises(ProtocolError):
        Connection(path)


@pytest.mark.parametrize(
    "error",
    [
        NotFound("no experiment is called 'x'"),
        Refused("not now"),
        ConfigError([Problem("a.yaml", "pipelines.b", "unknown: really"), Problem("a.yaml", "", "is empty")]),
        ComponentFailed("boom", remote_type="ValueError", remote_traceback="Traceback ..."),
    ],
)
def test_an_error_of_the_daemon_is_raised(path: Path, error: SandboxError) -> None:
    with scripted_daemon(path, welcoming(lambda ask: [encode(Failed(id=ask.id, fault=fault_of(error)))])):
        link = Connection(path)
        with pytest.raises(type(error)) as caught:
            link.ask(Names())
        link.close()
    assert str(caught.value) == str(error)
    assert getattr(caught.value, "problems", None) == getattr(error, "problems", None)
    assert getattr(caught.value, "remote_traceback", "") == getattr(error, "remote_traceback", "")


def test_an_answer_to_an_older_request_is_ignored(path: Path) -> None:
    def late(ask: Ask) -> list[bytes]:
        return [encode(Reply(id=ask.id + 17, body=msgspec.Raw(encode(["old"])))), reply(ask, ["new"])]

    with scripted_daemon(path, welcoming(late)):
        link = Connection(path)
        assert link.ask(Names()) == ["new"]
        link.close()


@pytest.mark.usefixtures("impatient")
def test_a_slow_answer_is_awaited_as_long_as_the_daemon_responds(path: Path) -> None:
    open_asks: list[Ask] = []

    def slow(ask: Ask) -> list[bytes]:
        if not is_for_status(ask):
            open_asks.append(ask)
            return []
        open_asks.append(ask)
        return [reply(ask, None)] if len(open_asks) < 5 else [reply(ask, None), reply(open_asks[0], ["at last"])]

    with scripted_daemon(path, welcoming(slow)):
        link = Connection(path)
        assert link.ask(Names()) == ["at last"]
        link.close()


@pytest.mark.usefixtures("impatient")
def test_an_unresponsive_daemon_is_given_up(path: Path) -> None:
    with scripted_daemon(path, welcoming(lambda ask: [])):
        link = Connection(path)
        with pytest.raises(DaemonUnreachable, match="stopped or stuck"):
            link.ask(Names())
        link.close()


SHORT_LIVED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.sandbox_actors.client.scripted_daemon import scripted_daemon, welcoming
with scripted_daemon(Path(sys.argv[1]), welcoming(lambda ask: print("asked", flush=True) or [])):
    print("listens", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def short_lived(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A daemon in its own process, which prints a line for each request and never answers."""
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", SHORT_LIVED, str(path), str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        yield process
        process.kill()


@pytest.mark.real
def test_a_killed_daemon_is_noticed_at_once(path: Path, short_lived: subprocess.Popen[str]) -> None:
    link = Connection(path)

    def kill_when_asked() -> None:
        assert short_lived.stdout is not None
        short_lived.stdout.readline()
        short_lived.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill_when_asked)
    killer.start()
    with pytest.raises(DaemonUnreachable, match=f"pid {short_lived.pid}.*has ended"):
        link.ask(Names())
    killer.join()
    link.close()


@pytest.mark.real
def test_the_listener_is_the_process_that_serves_the_socket(path: Path, short_lived: subprocess.Popen[str]) -> None:
    assert listener(path) == short_lived.pid
    assert listener(path.with_name("other.sock")) is None


def test_an_interrupted_request_is_abandoned(path: Path) -> None:
    abandoned = threading.Event()

    def interrupt(frame: Any) -> list[bytes]:
        if isinstance(frame, Abandon):
            abandoned.set()
        else:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return []

    with scripted_daemon(path, welcoming(interrupt)) as received:
        link = Connection(path)
        with pytest.raises(KeyboardInterrupt):
            link.ask(Names())
        link.close()
        assert abandoned.wait(10)
    assert received[-1] == Abandon(id=received[-2].id)


def test_a_request_too_large_for_a_frame_is_refused_by_the_client(path: Path) -> None:
    with scripted_daemon(path, welcoming(lambda ask: [])):
        link = Connection(path)
        with pytest.raises(Refused, match=str(MAX_FRAME)):
            link.ask(Names(of="x" * MAX_FRAME))
        link.close()
