from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from sandbox_actors.errors import ActorStopped, ComponentFailed, NotFound, ProtocolError, Refused, WorkerLost
from sandbox_actors.protocol.faults import Fault, fault_of
from sandbox_actors.protocol.frames import (
    MAX_FRAME,
    NO_ASK,
    PROTOCOL_VERSION,
    Abandon,
    Failed,
    Reply,
    Request,
    TurnedAway,
    encode,
)
from sandbox_actors.transport.connection import PeerGone
from sandbox_actors.transport.gateway import MALFORMED_LIMIT, MAX_OPEN_ASKS, MalformedCount, Peer
from sandbox_actors.transport.unix_router import open_router
from tests.sandbox_actors.transport.raw_peer import until
from tests.sandbox_actors.transport.served_gateway import HELLO, UGLY, ask, dealer, gateway, greet, receive


class Question(Request[str], frozen=True, kw_only=True):
    """A request that only the peers of these tests answer."""


async def test_a_greeted_peer_is_answered(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        with dealer(tmp_path) as socket:
            assert (await greet(socket)).protocol == PROTOCOL_VERSION
            socket.send(ask(1, "hello"))
            answer = await receive(socket)
    assert (answer.id, msgspec.msgpack.decode(answer.body)) == (1, {"echo": "hello"})


async def test_two_thousand_asks_at_once_are_all_answered(tmp_path: Path) -> None:
    # An edge-triggered descriptor and one receive for each wake-up would answer the first and then hang.
    async with gateway(tmp_path):
        with dealer(tmp_path) as socket:
            await greet(socket)
            ids = set()
            for batch in range(0, 2000, MAX_OPEN_ASKS):
                expected = set(range(batch, min(batch + MAX_OPEN_ASKS, 2000)))
                for id in expected:
                    socket.send(ask(id, "x"))
                ids |= {(await receive(socket)).id for _ in expected}
    assert ids == set(range(2000))


async def test_errors_keep_their_kind_and_bugs_their_traceback(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        with dealer(tmp_path) as socket:
            await greet(socket)
            socket.send(ask(1, "missing"))
            missing = await receive(socket)
            socket.send(ask(2, "bug"))
            bug = await receive(socket)
    assert isinstance(missing, Failed)
    assert (missing.fault.code, missing.fault.traceback) == ("not-found", "")
    assert bug.fault.code == "internal"
    assert "ZeroDivisionError: oops" in bug.fault.traceback


async def test_whatever_an_ask_raises_is_an_answer_of_limited_size(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        with dealer(tmp_path) as socket, dealer(tmp_path) as other:
            await greet(socket)
            await greet(other)
            for id, word in enumerate((*UGLY, "huge answer", "no answer")):
                socket.send(ask(id, word))
                failed = await receive(socket)
                assert isinstance(failed, Failed), word
                assert failed.id == id
                assert len(encode(failed)) <= 17 * 1024, word
                other.send(ask(id, "x"))
                assert isinstance(await receive(other), Reply)


@pytest.mark.parametrize("name", UGLY)
async def test_whatever_a_greeting_raises_refuses_its_sender_and_no_other_peer(tmp_path: Path, name: str) -> None:
    async with gateway(tmp_path):
        with dealer(tmp_path) as socket, dealer(tmp_path) as other:
            await greet(other)
            socket.send(encode(msgspec.structs.replace(HELLO, name=name)))
            assert isinstance(await receive(socket), TurnedAway)
            other.send(ask(1, "x"))
            assert isinstance(await receive(other), Reply)


async def test_a_malformed_message_with_a_long_name_is_reported_in_a_short_one(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        with dealer(tmp_path) as socket:
            await greet(socket)
            for _ in range(MALFORMED_LIMIT):
                socket.send(encode({"type": "\x01" * (MAX_FRAME - 100)}))
                complaint = await receive(socket)
                assert len(encode(complaint)) <= 17 * 1024
            assert isinstance(await receive(socket), TurnedAway)


async def test_an_abandoned_ask_is_cancelled_and_not_answered(tmp_path: Path) -> None:
    async with gateway(tmp_path) as served:
        with dealer(tmp_path) as socket:
            await greet(socket)
            socket.send(ask(1, "wait"))
            socket.send(ask(2, "x"))
            assert (await receive(socket)).id == 2
            socket.send(encode(Abandon(id=1)))
            socket.send(ask(3, "x"))
            assert (await receive(socket)).id == 3
            await trio.testing.wait_all_tasks_blocked()
            assert served.cancelled == ["wait"]


async def test_more_open_asks_than_allowed_are_refused_not_queued(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        with dealer(tmp_path) as socket:
            await greet(socket)
            for id in range(MAX_OPEN_ASKS + 1):
                socket.send(ask(id, "wait"))
            refused = await receive(socket)
    assert (refused.id, refused.fault.code) == (MAX_OPEN_ASKS, Refused.code)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "not a frame"),
        (b"\xff\x00 rubbish", "not a frame"),
        (encode({"type": "Ask"}), "not a frame"),
        (encode({"type": "Nonsense"}), "not a frame"),
        (b"\x81\xa4type\xa5Hell\xff", "not a frame"),
        (b"\x91" * 4_000 + b"\x90", "not a frame"),
        (b"\x91" * 100_000, "may have 4096 bytes"),
        (ask(1, "x"), "must be Hello"),
        (encode(msgspec.structs.replace(HELLO, protocol=99)), "speaks 99"),
        (encode(msgspec.structs.replace(HELLO, name="stranger")), "outside"),
    ],
)
async def test_a_peer_with_a_bad_first_frame_is_refused_with_the_reason(
    tmp_path: Path, frame: bytes, reason: str
) -> None:
    async with gateway(tmp_path) as served:
        with dealer(tmp_path) as socket:
            socket.send(frame)
            answer = await receive(socket)
    assert isinstance(answer, TurnedAway)
    assert reason in answer.fault.message
    assert served.peers == []


async def test_a_malformed_message_is_answered_and_ten_in_a_minute_disconnect(tmp_path: Path) -> None:
    async with gateway(tmp_path) as served:
        with dealer(tmp_path) as socket:
            await greet(socket)
            socket.send(ask(1, "wait"))
            for _ in range(MALFORMED_LIMIT - 1):
                socket.send(b"rubbish")
                complaint = await receive(socket)
                assert isinstance(complaint, Failed)
                assert (complaint.id, complaint.fault.code) == (NO_ASK, ProtocolError.code)
            socket.send(ask(2, "x"))
            assert (await receive(socket)).id == 2
            socket.send(b"rubbish")
            assert (await receive(socket)).id == NO_ASK
            farewell = await receive(socket)
            assert isinstance(farewell, TurnedAway)
            assert "10 messages broke the protocol, the last one: not a frame" in farewell.fault.message
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert served.cancelled == ["wait"]


def test_ten_malformed_messages_are_too_many_only_within_a_minute() -> None:
    slow, fast = MalformedCount(), MalformedCount()
    assert not any(slow.add(now=7.0 * count) for count in range(100))
    assert [fast.add(now=6.0 * count) for count in range(MALFORMED_LIMIT)] == [False] * (MALFORMED_LIMIT - 1) + [True]


async def test_a_second_ask_with_an_open_id_is_refused(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        with dealer(tmp_path) as socket:
            await greet(socket)
            socket.send(ask(1, "wait"))
            socket.send(ask(1, "x"))
            complaint = await receive(socket)
    assert (complaint.id, complaint.fault.message) == (NO_ASK, "ask 1 is open already")


async def test_open_asks_may_not_have_more_bytes_together_than_one_frame(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        with dealer(tmp_path) as socket:
            await greet(socket)
            socket.send(ask(1, ["wait", "x" * (MAX_FRAME // 2)]))
            socket.send(ask(2, ["wait", "x" * (MAX_FRAME // 2)]))
            refused = await receive(socket)
    assert (refused.id, refused.fault.code) == (2, Refused.code)


async def test_the_open_asks_of_a_peer_are_cancelled_when_its_connection_ends(tmp_path: Path) -> None:
    async with gateway(tmp_path) as served:
        with dealer(tmp_path) as socket:
            await greet(socket)
            socket.send(ask(1, "wait"))
            socket.send(ask(2, "x"))
            await receive(socket)
        await until(lambda: served.cancelled)


async def test_asks_to_a_peer_that_disconnects_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox_actors.transport.gateway.LOST_GRACE", 0.0)

    async def ask_peer(peer: Peer) -> None:
        with pytest.raises(PeerGone, match=f"tester .pid {os.getpid()}. has closed its connection"):
            await peer.ask(Question())

    async with gateway(tmp_path) as served, trio.open_nursery() as nursery:
        with dealer(tmp_path) as socket:
            await greet(socket)
            nursery.start_soon(ask_peer, served.peers[0])
            await receive(socket)


async def test_a_frame_over_the_limit_disconnects_its_sender_and_no_other_peer(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        with dealer(tmp_path) as large, dealer(tmp_path) as other:
            await greet(large)
            await greet(other)
            large.send(b"x" * (MAX_FRAME + 1))
            other.send(ask(1, "x"))
            assert (await receive(other)).id == 1


async def test_a_peer_can_be_asked(tmp_path: Path) -> None:
    async with gateway(tmp_path) as served:
        with dealer(tmp_path) as socket:
            await greet(socket)
            (peer,) = served.peers
            answers: list[Any] = []

            async def ask_peer() -> None:
                answers.append(await peer.ask(Question()))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask_peer)
                asked = await receive(socket)
                assert msgspec.msgpack.decode(asked.body, type=Question) == Question()
                socket.send(encode(Reply(id=asked.id, body=msgspec.Raw(encode("answer")))))
    assert answers == ["answer"]


async def test_an_answer_of_another_type_is_a_protocol_error(tmp_path: Path) -> None:
    async with gateway(tmp_path) as served:
        with dealer(tmp_path) as socket:
            await greet(socket)

            async def answer_wrongly() -> None:
                asked = await receive(socket)
                socket.send(encode(Reply(id=asked.id, body=msgspec.Raw(encode(["not", "text"])))))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_wrongly)
                with pytest.raises(ProtocolError, match="not an answer to Question"):
                    await served.peers[0].ask(Question())


async def test_a_remote_error_arrives_with_its_traceback(tmp_path: Path) -> None:
    fault = Fault(
        code="internal", message="ValueError: no", kind="ValueError", traceback="Traceback ... ValueError: no"
    )
    async with gateway(tmp_path) as served:
        with dealer(tmp_path) as socket:
            await greet(socket)

            async def refuse() -> None:
                asked = await receive(socket)
                socket.send(encode(Failed(id=asked.id, fault=fault)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(refuse)
                with pytest.raises(ComponentFailed, match="ValueError: no") as caught:
                    await served.peers[0].ask(Question())
    assert caught.value.remote_traceback == fault.traceback
    assert fault_of(caught.value).traceback == fault.traceback


async def test_cancelling_an_ask_informs_the_peer(tmp_path: Path) -> None:
    async with gateway(tmp_path) as served:
        with dealer(tmp_path) as socket:
            await greet(socket)
            with trio.move_on_after(0.02):
                await served.peers[0].ask(Question())
            asked, abandoned = await receive(socket), await receive(socket)
    assert isinstance(abandoned, Abandon)
    assert abandoned.id == asked.id


async def test_open_and_later_asks_to_a_peer_that_has_ended_fail(tmp_path: Path) -> None:
    async with gateway(tmp_path) as served:
        with dealer(tmp_path) as socket:
            await greet(socket)
            (peer,) = served.peers

            async def ask_peer() -> None:
                with pytest.raises(WorkerLost, match="gone"):
                    await peer.ask(Question())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask_peer)
                await trio.testing.wait_all_tasks_blocked()
                peer.end(WorkerLost("gone"))
            with pytest.raises(WorkerLost, match="gone"):
                await peer.ask(Question())


async def test_a_socket_path_that_is_too_long_is_refused_with_the_limit(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="107"):
        async with open_router(tmp_path / ("x" * 120)):
            raise AssertionError("it was bound")


async def test_the_socket_is_for_its_owner_only_and_removed_at_the_end(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        assert (tmp_path / "s").stat().st_mode & 0o077 == 0
    assert not (tmp_path / "s").exists()


def test_an_error_survives_the_wire() -> None:
    from sandbox_actors.protocol.faults import error_of

    for error in (NotFound("n"), Refused("r"), ActorStopped("a"), WorkerLost("w")):
        again = error_of(fault_of(error))
        assert (type(again), str(again)) == (type(error), str(error))
