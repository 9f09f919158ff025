"""Clients over TCP on loopback: only an authorized key is accepted."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket as sockets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
import zmq

from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import Connection, listener
from sandbox_actors.client.remote import Remote, find_remote
from sandbox_actors.errors import DaemonUnreachable, Refused
from sandbox_actors.protocol.client_requests import GetStatus
from sandbox_actors.protocol.frames import MAX_FRAME
from sandbox_actors.transport.curve_relay import MEMORY_LIMIT
from sandbox_actors.transport.curve_router import CONNECTIONS, new_pair
from sandbox_actors.transport.gateway import MALFORMED_LIMIT
from sandbox_actors.transport.keys import Keys
from sandbox_actors.transport.zmtp import OPENING

from .commands import ROOT, job, sandbox, write
from .conftest import Sandbox
from .fuzzer import MESSAGES, WEIGHTS

COUNT, SEED = 200, int(os.environ.get("SANDBOX_FUZZ_SEED", "7"))
"""Of the raw connections in the fuzz test, and what determines them."""


class Elsewhere:
    """A daemon that listens at `address`, and the home of a client on the same machine."""

    def __init__(self, place: Sandbox, home: Path) -> None:
        with sockets.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.place, self.home, self.address = place, home, f"tcp://127.0.0.1:{self.port}"
        place.environ["SANDBOX_LISTEN"] = self.address
        self.server = Keys(place.paths.keys)
        self.server_key = self.server.make_server(new_pair).public
        self.mine = Keys(home / "keys").make_client(new_pair)
        self.server.add("laptop", self.mine.public)
        place.start()
        self.until_open()

    def until_open(self) -> None:
        """Wait until the port accepts connections."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(ConnectionRefusedError):
                sockets.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.02)
        raise AssertionError((self.place.home / "daemon.log").read_text())

    def port_process(self) -> psutil.Process:
        """The process that has the TCP port."""
        assert self.place.daemon is not None
        children = psutil.Process(self.place.daemon.pid).children()
        return next(child for child in children if any("curve_relay" in word for word in child.cmdline()))

    def connection(self, pair: object = None, server_key: str = "") -> Connection:
        return Connection(Remote(self.address, server_key or self.server_key, pair or self.mine))  # type: ignore[arg-type]

    def command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        own = {"SANDBOX_HOME": str(self.home), "SANDBOX_CONNECT": self.address, "SANDBOX_SERVER_KEY": self.server_key}
        return sandbox(self.place, *arguments, **{**own, **environ})


@pytest.fixture
def elsewhere(unserved: Sandbox) -> Iterator[Elsewhere]:
    home = Path(tempfile.mkdtemp(prefix="sb-"))
    made = Elsewhere(unserved, home)
    yield made
    port = made.port_process()
    unserved.stop()
    assert psutil.wait_procs([port], 5)[1] == []
    shutil.rmtree(home)


def test_a_client_with_an_authorized_key_runs_an_experiment(elsewhere: Elsewhere) -> None:
    file = write(elsewhere.place, "tiny", main=[job("Returns", "one", value=7)])
    ran = elsewhere.command("run", "--json", file)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["context_infos"]["main"][0]["res_0"] == 7
    (row,) = json.loads(elsewhere.command("ls", "--json").stdout)
    assert row["state"] == "succeeded"
    assert elsewhere.command("logs", row["id"]).returncode == 0
    assert json.loads(elsewhere.command("ps", "--json").stdout)
    assert str(elsewhere.place.paths.home) in elsewhere.command("daemon", "status").stdout
    assert list(elsewhere.home.iterdir()) == [elsewhere.home / "keys"]


@pytest.mark.parametrize(
    "arguments",
    [("env", "ls"), ("daemon", "start"), ("daemon", "stop"), ("daemon", "recover"), ("env", "create", "plain")],
)
def test_commands_for_the_daemons_own_machine_are_refused_elsewhere(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    place = Sandbox.__new__(Sandbox)
    place.cwd, place.environ = tmp_path, {**os.environ, "SANDBOX_HOME": str(tmp_path)}
    done = sandbox(place, *arguments, SANDBOX_CONNECT="tcp://127.0.0.1:1", SANDBOX_SERVER_KEY="0" * 64)
    assert done.returncode != 0
    assert "works only on the daemon's machine, but SANDBOX_CONNECT is tcp://127.0.0.1:1: run it there" in done.stderr


def test_no_other_key_is_accepted(elsewhere: Elsewhere) -> None:
    with pytest.raises(DaemonUnreachable, match=r"does not accept your key: .* `sandbox daemon keys add NAME \w{64}`"):
        elsewhere.connection(new_pair())
    with pytest.raises(DaemonUnreachable, match="ended the handshake: SANDBOX_SERVER_KEY must be"):
        elsewhere.connection(server_key=new_pair().public)
    refused = elsewhere.command("ls", SANDBOX_SERVER_KEY=new_pair().public)
    assert (refused.returncode, "ended the handshake" in refused.stderr) == (3, True)
    elsewhere.connection().close()
    assert "with the key" in (elsewhere.place.home / "daemon.log").read_text()


def test_revoking_a_key_closes_its_connections_and_no_others(elsewhere: Elsewhere) -> None:
    second = new_pair()
    elsewhere.server.add("desk", second.public)
    revoked, other = elsewhere.connection(), elsewhere.connection(second)
    errors: list[BaseException] = []

    def follow() -> None:
        try:
            while True:
                revoked.ask(GetStatus())
        except DaemonUnreachable as error:
            errors.append(error)

    asking = threading.Thread(target=follow)
    asking.start()
    started = time.monotonic()
    assert sandbox(elsewhere.place, "daemon", "keys", "rm", "laptop").returncode == 0
    asking.join(20)
    assert "has ended, or your key was revoked" in str(errors[0])
    assert time.monotonic() - started < 15
    assert other.ask(GetStatus()).home == str(elsewhere.place.home)
    with pytest.raises(DaemonUnreachable, match="does not accept your key"):
        elsewhere.connection()
    for each in (revoked, other):
        each.close()


def test_many_connections_without_curve_do_no_harm(elsewhere: Elsewhere) -> None:
    assert elsewhere.place.daemon is not None
    port, pid = elsewhere.port_process(), elsewhere.place.daemon.pid
    mine = elsewhere.connection()
    before = port.memory_info().rss
    opened = []
    for number in range(3 * CONNECTIONS):
        opened.append(sockets.create_connection(("127.0.0.1", elsewhere.port)))
        data = [b"", OPENING[:32], OPENING, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 200][number % 5]
        opened[-1].send(data)
    assert mine.ask(GetStatus()).pid == pid
    deadline = time.monotonic() + 20
    while port.num_fds() > CONNECTIONS + 60 and time.monotonic() < deadline:
        mine.ask(GetStatus())
    assert port.num_fds() <= CONNECTIONS + 60
    assert port.memory_info().rss - before < 32 * 1024 * 1024
    for each in opened:
        each.close()
    mine.close()
    with Client(elsewhere.place.paths, autostart=False) as local:
        assert local.status().pid == pid


def test_a_connection_with_the_descriptor_of_one_that_has_just_ended_is_served(elsewhere: Elsewhere) -> None:
    port = elsewhere.port_process()
    for _ in range(20):
        port.suspend()  # so that it sees both connections at once
        sockets.create_connection(("127.0.0.1", elsewhere.port)).close()
        timer = threading.Timer(0.02, port.resume)
        timer.start()
        mine = elsewhere.connection()
        assert mine.ask(GetStatus()).home == str(elsewhere.place.home)
        mine.close()
        timer.join()


def test_a_message_of_many_parts_is_cut_and_costs_neither_the_daemon_nor_other_clients(elsewhere: Elsewhere) -> None:
    assert elsewhere.place.daemon is not None
    processes = [psutil.Process(elsewhere.place.daemon.pid), elsewhere.port_process()]
    before, peaks = processes[0].memory_info().rss, [0, 0]
    mine, other = elsewhere.connection(), elsewhere.connection()
    part = bytes(MAX_FRAME - 1024)
    for _ in range(2 * MEMORY_LIMIT // MAX_FRAME):  # libzmq sends the first part when it has the last one
        mine._socket.send(part, zmq.SNDMORE, copy=False)
    mine._socket.send(b"", copy=False)
    deadline = time.monotonic() + 30
    while not mine._monitor.poll(0):
        assert time.monotonic() < deadline
        assert other.ask(GetStatus()).pid == processes[0].pid
        peaks = [max(peak, each.memory_info().rss) for peak, each in zip(peaks, processes, strict=True)]
    assert peaks[0] - before < 16 * 1024 * 1024
    assert peaks[1] < 1.1 * MEMORY_LIMIT
    assert other.ask(GetStatus()).pid == processes[0].pid
    mine._context.destroy(linger=0)
    other.close()


def test_the_port_is_opened_again_when_its_process_dies(elsewhere: Elsewhere) -> None:
    port = elsewhere.port_process()
    port.kill()
    with elsewhere.place.client() as local:
        assert local.status().home == str(elsewhere.place.home)
    port.wait(10)
    elsewhere.until_open()
    mine = elsewhere.connection()
    assert mine.ask(GetStatus()).home == str(elsewhere.place.home)
    mine.close()


def test_the_next_daemon_has_the_port_of_one_that_was_killed(elsewhere: Elsewhere) -> None:
    left = elsewhere.port_process()
    elsewhere.place.kill()
    left.wait(10)
    elsewhere.place.start()
    elsewhere.until_open()
    mine = elsewhere.connection()
    assert mine.ask(GetStatus()).home == str(elsewhere.place.home)
    mine.close()


def test_malformed_bytes_over_tcp_cost_no_memory_and_delay_no_client(elsewhere: Elsewhere) -> None:
    assert elsewhere.place.daemon is not None
    processes = [psutil.Process(elsewhere.place.daemon.pid), elsewhere.port_process()]
    mine = elsewhere.connection()
    for _ in range(50):
        mine.ask(GetStatus())
    before = [each.memory_info().rss for each in processes]
    draw, slow = random.Random(SEED), []
    for number in range(COUNT):
        with suppress(ConnectionError), sockets.create_connection(("127.0.0.1", elsewhere.port)) as raw:
            raw.sendall(raw_bytes(draw))
        if number % 20 == 0:  # sends a byte at a time, and never closes
            slow.append(sockets.create_connection(("127.0.0.1", elsewhere.port)))
        for each in slow:
            with suppress(ConnectionError):
                each.send(CURVE_OPENING[number % 64 : number % 64 + 1])
        asked = time.monotonic()
        assert mine.ask(GetStatus()).pid == processes[0].pid
        assert time.monotonic() - asked < 5
    for _ in range(COUNT // 10):
        peer = elsewhere.connection()
        for make in draw.choices(MESSAGES, WEIGHTS, k=MALFORMED_LIMIT):
            peer._socket.send(make(draw))
        peer._socket.send_multipart([b"part"] * 50)
        assert mine.ask(GetStatus()).pid == processes[0].pid
        peer._context.destroy(linger=0)
    assert processes == [processes[0], elsewhere.port_process()]
    grown = [each.memory_info().rss - then for each, then in zip(processes, before, strict=True)]
    assert max(grown) < 32 * 1024 * 1024, grown
    for each in slow:
        each.close()
    mine.close()


CURVE_OPENING = OPENING[:12] + b"CURVE".ljust(20, b"\0") + OPENING[32:64]


def raw_bytes(draw: random.Random) -> bytes:
    """What is no handshake, or a part of one, or one that is forged."""
    hello = b"\4\xc8\5HELLO\1\0" + draw.randbytes(192)
    whole = CURVE_OPENING + hello + b"\4\x50\x08INITIATE" + draw.randbytes(draw.randrange(200))
    forged = CURVE_OPENING + draw.choice([b"\2", b"\6", b"\3", b"\1"]) + draw.choice([b"\xff" * 8, draw.randbytes(8)])
    return draw.choice([draw.randbytes(draw.randrange(1, 300)), whole[: draw.randrange(len(whole))], whole, forged])


def test_a_client_that_is_one_too_many_gets_the_limit(elsewhere: Elsewhere) -> None:
    with ExitStack() as mute:
        for _ in range(CONNECTIONS):
            mute.enter_context(sockets.create_connection(("127.0.0.1", elsewhere.port)))
        for _ in range(100):
            with pytest.raises(Refused, match=f"{CONNECTIONS} connections over TCP are open, which is the limit"):
                elsewhere.connection()


def test_a_daemon_without_keys_does_not_listen(unserved: Sandbox) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "sandbox_actors.daemon", "--listen", "tcp://127.0.0.1:0"],
        env=unserved.environ, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "TCP needs keys, and the daemon has none; `sandbox daemon keys init` creates them" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert listener(unserved.paths.socket) is None


def test_keys_are_created_listed_and_removed(unserved: Sandbox) -> None:
    def keys(*arguments: str) -> subprocess.CompletedProcess[str]:
        return sandbox(unserved, "daemon", "keys", *arguments)

    assert keys("show").returncode != 0
    server, mine = keys("init").stdout.strip(), keys("mine").stdout.strip()
    assert keys("init").stdout.strip() == keys("show").stdout.strip() == server != mine
    assert keys("mine").stdout.strip() == mine
    assert keys("add", "laptop", mine).returncode == 0
    assert json.loads(keys("ls", "--json").stdout) == [{"name": "laptop", "key": mine}]
    for wrong in (("laptop", new_pair().public), ("other", mine), ("no name", new_pair().public), ("short", "abc")):
        assert keys("add", *wrong).returncode != 0
    assert keys("rm", "laptop").returncode == 0
    assert keys("rm", "laptop").returncode != 0
    assert keys("ls", "-q").stdout == ""
    folder = unserved.paths.keys
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_missing_variable_or_key_is_named(tmp_path: Path) -> None:
    connect = {"SANDBOX_CONNECT": "tcp://host:1"}
    assert find_remote(tmp_path, {}) is None
    with pytest.raises(Refused, match="SANDBOX_SERVER_KEY must hold the daemon's public key"):
        find_remote(tmp_path, connect)
    with pytest.raises(Refused, match="create it with `sandbox daemon keys mine`"):
        find_remote(tmp_path, {**connect, "SANDBOX_SERVER_KEY": "0" * 64})
    with pytest.raises(Refused, match="must be tcp://"):
        find_remote(tmp_path, {"SANDBOX_CONNECT": "host"})
