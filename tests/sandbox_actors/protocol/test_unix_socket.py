"""Who listens at a Unix socket: looked at before anything is sent, by clients and workers alike."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox_actors.client.connection import Connection
from sandbox_actors.errors import AnothersDaemon
from sandbox_actors.protocol.unix_socket import find_door
from sandbox_actors.worker import __main__ as worker_entry
from tests.strangers import NEEDS_ROOT, becoming

WORKER = Path(worker_entry.__file__)

LISTENS_AS_ANOTHER_USER = f"""
import socket, sys
{becoming()}
os.umask(0)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("listens", flush=True)
while True:
    connection, _ = server.accept()
    connection.settimeout(20)
    print(connection.recv(1000), flush=True)
"""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield server


def test_a_door_leads_to_the_socket_that_was_looked_at_even_if_another_takes_its_place(tmp_path: Path) -> None:
    with listening(tmp_path / "first") as first:
        (tmp_path / "link").symlink_to(tmp_path / "first")
        door = find_door(tmp_path / "link", 1.0)
        assert door is not None
        assert door.pid == os.getpid()
        first.accept()[0].close()
        (tmp_path / "first").rename(tmp_path / "moved")
        with listening(tmp_path / "first") as second, socket.socket(socket.AF_UNIX) as client:
            second.setblocking(False)
            client.connect(door.address)
            first.accept()[0].close()
            with pytest.raises(BlockingIOError):
                second.accept()
        door.close()


def test_there_is_no_door_where_nobody_listens(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with listening(tmp_path / "dead"):
        pass
    (tmp_path / "file").write_text("")
    assert [find_door(tmp_path / name, 1.0) for name in ("missing", "dead", "file")] == [None] * 3
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason=NEEDS_ROOT)
def test_another_user_who_listens_gets_no_token_from_a_worker_and_nothing_from_a_client() -> None:
    folder = Path("/tmp") / f"sandbox-slipped-{os.getpid()}"  # which another user can enter
    folder.mkdir()
    folder.chmod(0o777)
    path = folder / "workers.sock"
    stranger = subprocess.Popen(
        [sys.executable, "-I", "-c", LISTENS_AS_ANOTHER_USER, str(path)], stdout=subprocess.PIPE, text=True, cwd="/"
    )
    reading, writing = os.pipe()
    try:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "listens\n"
        os.write(writing, b"token\n")
        worker = subprocess.run(
            [sys.executable, "-I", str(WORKER), str(path), "worker-1", "0", str(reading)],
            pass_fds=(reading,), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert worker.returncode == 1
        assert f"{path} belongs to the user with uid 54321" in worker.stderr
        with pytest.raises(AnothersDaemon, match=f"{path} belongs to the user with uid 54321"):
            Connection(path)
        assert [stranger.stdout.readline() for _ in range(2)] == ["b''\n"] * 2
    finally:
        stranger.kill()
        stranger.communicate()
        for each in (reading, writing):
            os.close(each)
        path.unlink()
        folder.rmdir()
