"""The daemon's sockets against hostile peers: other users, too many, some that never complete a message or never
read."""

from __future__ import annotations

import os
import resource
import shutil
import socket as sockets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest
import trio
import zmq

from sandbox_actors.client.connection import Connection as ClientConnection
from sandbox_actors.errors import AnothersDaemon, ProtocolError, Refused
from sandbox_actors.protocol.frames import MAX_FRAME, TurnedAway, decode_frame
from sandbox_actors.transport import unix_listener, unix_router
from sandbox_actors.transport.connection import Connection, PeerGone
from sandbox_actors.transport.unix_router import open_router
from sandbox_actors.transport.zmtp import OPENING, Decoder, framed
from tests.sandbox_actors.transport.raw_peer import DEALER_OPENING, last_words, raw_peer, send_for_ever, until
from tests.strangers import NEEDS_ROOT, becoming

MIB = 1024 * 1024

ONE_PART_OF_MANY = b"\3" + (60_000).to_bytes(8, "big") + b"x" * 60_000


class Echo:
    """Serves a router: admits every peer, returns each frame, and records the connections."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.received: list[int] = []

    def on_frame(self, peer: Connection, frame: bytes) -> None:
        if peer not in self.connections:
            peer.admit()
            self.connections.append(peer)
        self.received.append(len(frame))
        peer.send(frame[:100])

    def on_closed(self, peer: Connection) -> None:
        if peer in self.connections:
            self.connections.remove(peer)


@asynccontextmanager
async def served(*paths: Path) -> AsyncIterator[Echo]:
    echo = Echo()
    async with open_router(*paths) as router, trio.open_nursery() as nursery:
        nursery.start_soon(router.run, echo.on_frame, echo.on_closed)
        yield echo
        nursery.cancel_scope.cancel()


@contextmanager
def dealer(path: Path, identity: bytes = b"") -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    if identity:
        socket.setsockopt(zmq.IDENTITY, identity)
    socket.connect(f"ipc://{path}")
    try:
        yield socket
    finally:
        context.destroy(linger=0)


async def echoed(socket: zmq.Socket[bytes], message: bytes = b"hello") -> bytes:
    socket.send(message)
    assert await trio.to_thread.run_sync(socket.poll, 20_000), "nothing came"
    return socket.recv()


def memory() -> int:
    return psutil.Process().memory_info().rss


# --- admission -------------------------------------------------------------------------------------------------------

CONNECTS_AS_ANOTHER_USER = f"""
import socket, sys
{becoming(65534)}
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.settimeout(20)
client.send(bytes.fromhex(sys.argv[2]))
while data := client.recv(4096):
    os.write(1, data)
"""


@pytest.mark.real
@pytest.mark.skipif(os.getuid() != 0, reason=NEEDS_ROOT)
async def test_another_user_is_refused_even_if_all_permissions_are_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = Path("/tmp") / f"sandbox-slipped-{os.getpid()}"  # which another user can enter
    folder.mkdir()
    try:
        async with served(folder / "s") as echo:
            folder.chmod(0o777)
            (folder / "s").chmod(0o777)
            sent = (DEALER_OPENING + framed(b"hello")).hex()
            stranger = await trio.run_process(
                [sys.executable, "-I", "-c", CONNECTS_AS_ANOTHER_USER, str(folder / "s"), sent],
                capture_stdout=True,
                cwd="/",
            )
            with dealer(folder / "s") as owner:
                assert await echoed(owner) == b"hello"
            assert len(echo.received) == 1
    finally:
        shutil.rmtree(folder)
    farewell = decode_frame([*Decoder(MAX_FRAME).feed(stranger.stdout)][-1])
    assert isinstance(farewell, TurnedAway)
    assert farewell.fault.code == AnothersDaemon.code
    assert "belongs to the user root (uid 0) and serves no one else" in farewell.fault.message
    assert "another user (uid 65534" in caplog.text


async def test_an_identity_cannot_be_taken_over(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as echo:
        with dealer(tmp_path / "s", b"worker-1") as owner, dealer(tmp_path / "s", b"worker-1") as impostor:
            assert await echoed(owner, b"mine") == b"mine"
            assert await echoed(impostor, b"his") == b"his"
            echo.connections[0].send(b"for the owner")
            assert await trio.to_thread.run_sync(owner.poll, 20_000)
            assert owner.recv() == b"for the owner"
            assert not impostor.poll(0)


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_one_connection_too_many_is_refused_with_the_reason_and_the_others_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_router, "CONNECTIONS", 3)
    async with served(tmp_path / "s"):
        with ExitStack() as stack:
            first, *_ = [stack.enter_context(dealer(tmp_path / "s")) for _ in range(3)]
            for socket in (first, *_):
                await echoed(socket)
            for _ in range(200):
                with pytest.raises(Refused, match="3 connections are open, which is the limit"):
                    await trio.to_thread.run_sync(ClientConnection, tmp_path / "s")
            assert await echoed(first) == b"hello"
        while True:  # when one has left, another is accepted
            with dealer(tmp_path / "s") as socket:
                socket.send(b"hello")
                if await trio.to_thread.run_sync(socket.poll, 200) and socket.recv() == b"hello":
                    return


CROWD = """
import resource, sys
from pathlib import Path
import trio
from sandbox_actors.transport.unix_router import open_router

async def serve():
    async with open_router(Path(sys.argv[1])) as router:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.run, lambda peer, frame: (peer.admit(), peer.send(frame)), lambda peer: None)
            print("listens", flush=True)
            await trio.to_thread.run_sync(sys.stdin.read)
            nursery.cancel_scope.cancel()

resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
trio.run(serve)
"""


@pytest.mark.real
async def test_hundreds_of_connections_at_a_low_file_limit_abort_nothing(tmp_path: Path) -> None:
    # An ipc ROUTER of libzmq aborts its process here.
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", CROWD, str(tmp_path / "s")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    ) as daemon:  # fmt: skip
        assert daemon.stdout is not None
        assert daemon.stdin is not None
        assert daemon.stdout.readline() == "listens\n"
        with dealer(tmp_path / "s") as client:
            assert await echoed(client) == b"hello"
            async with AsyncExitStack() as crowd:
                for _ in range(400):
                    await crowd.enter_async_context(raw_peer(tmp_path / "s"))
                for _ in range(200):
                    with pytest.raises(Refused, match=r"of the 100 files that the daemon may open .RLIMIT_NOFILE."):
                        await trio.to_thread.run_sync(ClientConnection, tmp_path / "s")
                assert await echoed(client) == b"hello"
        with dealer(tmp_path / "s") as late:
            assert await echoed(late) == b"hello"
        daemon.stdin.close()
        assert daemon.wait() == 0
        assert daemon.stderr is not None
        assert "(RLIMIT_NOFILE) are in use" in daemon.stderr.read()


async def test_accepting_continues_after_there_was_no_free_descriptor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with served(tmp_path / "s") as echo:
        with dealer(tmp_path / "s") as client:
            assert await echoed(client) == b"hello"
            before = len(echo.received)
            with sockets.socket(sockets.AF_UNIX) as waiting:
                resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno(), hard))  # no file is free below it
                try:
                    waiting.connect(str(tmp_path / "s"))
                    waiting.send(DEALER_OPENING + framed(b"patient"))
                    assert await echoed(client) == b"hello"
                    await until(lambda: "cannot accept a connection: Too many open files" in caplog.text)
                    assert len(echo.received) == before + 1
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await until(lambda: len(echo.received) == before + 2)


async def test_mute_peers_cannot_keep_others_from_the_reason_of_their_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_router, "CONNECTIONS", 0)
    monkeypatch.setattr(unix_router, "REFUSAL_TIMEOUT", 0.5)
    async with served(tmp_path / "s"), AsyncExitStack() as mute:
        streams = [await mute.enter_async_context(raw_peer(tmp_path / "s")) for _ in range(50)]
        with pytest.raises(Refused, match="0 connections are open"):
            await trio.to_thread.run_sync(ClientConnection, tmp_path / "s")
        for stream in streams:  # after a while each is closed
            assert b"".join([data async for data in stream]) == OPENING


# --- messages --------------------------------------------------------------------------------------------------------


async def test_a_peer_without_a_valid_greeting_in_time_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_router, "GREETING_TIMEOUT", 0.2)
    async with served(tmp_path / "s") as echo:
        with dealer(tmp_path / "s") as greeted:
            await echoed(greeted)
            async with raw_peer(tmp_path / "s") as mute, raw_peer(tmp_path / "s", DEALER_OPENING[:30]) as half:
                for stream in (mute, half):
                    assert b"".join([data async for data in stream]) == OPENING
            assert await echoed(greeted) == b"hello"
        assert len(echo.received) == 2


async def test_a_message_of_many_parts_is_refused_at_its_first_and_takes_no_memory(tmp_path: Path) -> None:
    # libzmq's ROUTER would collect all parts: 2 GiB in 9 seconds.
    async with served(tmp_path / "s") as echo:
        with dealer(tmp_path / "s") as socket:
            await echoed(socket)
        before = memory()
        for _ in range(20):
            async with raw_peer(tmp_path / "s", DEALER_OPENING, framed(b"hello")) as stream:
                with pytest.raises(trio.BrokenResourceError):
                    await send_for_ever(stream, ONE_PART_OF_MANY)
        assert memory() - before < 8 * MIB
        assert set(echo.received) == {5}


async def test_of_large_messages_only_two_are_received_at_a_time(tmp_path: Path) -> None:
    unfinished = framed(b"x" * MAX_FRAME)[:-1]
    taken = []

    async def send(stream: trio.SocketStream) -> None:
        await stream.send_all(unfinished)
        taken.append(stream)

    async with served(tmp_path / "s") as echo, AsyncExitStack() as stack, trio.open_nursery() as nursery:
        with dealer(tmp_path / "s") as socket:
            for _ in range(12):
                stream = await stack.enter_async_context(raw_peer(tmp_path / "s", DEALER_OPENING, framed(b"hello")))
                nursery.start_soon(send, stream)
            await until(lambda: len(taken) == 2)
            for _ in range(20):
                assert await echoed(socket) == b"hello"
            assert len(taken) == 2
            await taken[0].send_all(b"x")  # one is complete: the next is received
            await until(lambda: len(taken) == 3)
            nursery.cancel_scope.cancel()
    assert sorted(echo.received)[-1] == MAX_FRAME


async def test_the_sender_of_a_large_message_that_is_never_complete_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_router, "LARGE_TIMEOUT", 0.1)
    async with served(tmp_path / "s"):
        unfinished = framed(b"x" * 200_000)[:-1]
        async with raw_peer(tmp_path / "s", DEALER_OPENING, framed(b"hello"), unfinished) as stream:
            farewell = await last_words(stream)
    assert "a message of 200009 bytes was not complete in 0.1 s" in farewell.fault.message


async def test_a_peer_that_never_reads_is_disconnected_before_much_is_queued(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as echo:
        with dealer(tmp_path / "s") as other:
            async with raw_peer(tmp_path / "s", DEALER_OPENING, framed(b"hello")):
                await until(lambda: echo.connections)
                deaf = echo.connections[0]
                for _ in range(2 * MAX_FRAME // MIB):
                    deaf.send(b"x" * (MIB - 9))
                with pytest.raises(PeerGone, match="does not read"):
                    deaf.send(b"x" * MIB)
                assert await echoed(other) == b"hello"
                assert deaf not in echo.connections


async def test_answers_to_a_slow_reader_arrive_complete_and_in_order(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as echo:
        with dealer(tmp_path / "s") as slow:
            await echoed(slow)
            sent = [bytes([count]) * 700_000 for count in range(20)]
            for frame in sent:
                echo.connections[0].send(frame)
            assert [await trio.to_thread.run_sync(slow.recv) for _ in sent] == sent


# --- the path --------------------------------------------------------------------------------------------------------


async def test_a_socket_whose_folder_was_removed_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_listener, "PATH_CHECK_SECONDS", 0.02)
    path = tmp_path / "user" / "app" / "s"
    path.parent.mkdir(parents=True)
    async with served(path, tmp_path / "other"):
        with dealer(path) as before:
            await echoed(before)
            shutil.rmtree(tmp_path / "user")
            assert await echoed(before) == b"hello"
            await trio.sleep(0.1)  # as long as it cannot be created, nothing happens
            assert not path.exists()
            (tmp_path / "user").mkdir(mode=0o700)
            await until(path.exists)
            assert path.parent.stat().st_mode & 0o777 == 0o700
            with dealer(path) as after, dealer(tmp_path / "other") as other:
                assert [await echoed(socket) for socket in (before, after, other)] == [b"hello"] * 3
    assert not path.exists()
    assert not (tmp_path / "other").exists()


async def test_a_dead_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    with sockets.socket(sockets.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    async with served(tmp_path / "s"):
        with dealer(tmp_path / "s") as socket:
            assert await echoed(socket) == b"hello"
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ProtocolError, match="cannot listen at"):
        async with served(tmp_path / "file"):
            raise AssertionError("it was bound")
    assert (tmp_path / "file").read_text() == "precious"
