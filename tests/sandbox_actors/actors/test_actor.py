from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from sandbox_actors.actors.actor import INBOX_SIZE, Actor
from sandbox_actors.errors import ActorStopped


class Recorder(Actor):
    """Answers a number with its double, raises what is an error, waits for an event, and notes what happens to it."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self.seen: list[Any] = []

    async def on_start(self) -> None:
        self.seen.append("start")

    async def on_receive(self, message: Any) -> Any:
        self.seen.append(message)
        if isinstance(message, Exception):
            raise message
        if isinstance(message, trio.Event):
            await message.wait()
        return message * 2 if isinstance(message, int) else None

    async def on_stop(self) -> None:
        self.seen.append("stop")


async def test_an_ask_is_answered_and_messages_are_handled_in_order() -> None:
    actor = Recorder()
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await actor.tell(1)
        assert await actor.ask(2) == 4
        actor.stop()
    assert actor.seen == ["start", 1, 2, "stop"]


async def test_an_error_goes_to_who_asked_and_the_actor_lives_on() -> None:
    actor = Recorder()
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        with pytest.raises(ValueError, match="mine"):
            await actor.ask(ValueError("mine"))
        assert await actor.ask(1) == 2
        actor.stop()


async def test_an_error_that_nobody_asked_for_ends_the_actor() -> None:
    actor = Recorder()
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="nobody's")):
        async with trio.open_nursery() as nursery:
            await nursery.start(actor.run)
            await actor.tell(ValueError("nobody's"))
    assert actor.seen[-1] == "stop"


async def test_what_is_in_the_inbox_at_a_stop_is_still_handled() -> None:
    actor, go = Recorder(), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await actor.tell(go)
        await actor.tell(7)
        actor.stop()
        go.set()
    assert actor.seen[-2:] == [7, "stop"]


async def test_everyone_who_waits_is_answered_when_the_actor_is_cancelled() -> None:
    actor = Recorder()
    refused: list[int] = []

    async def ask(number: int) -> None:
        with pytest.raises(ActorStopped, match="recorder"):
            await actor.ask(number)
        refused.append(number)

    async with trio.open_nursery() as askers, trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await actor.tell(trio.Event())
        for number in range(5):
            askers.start_soon(ask, number)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert sorted(refused) == [0, 1, 2, 3, 4]


async def test_a_stopped_actor_answers_at_once() -> None:
    actor = Recorder()
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        actor.stop()
    with pytest.raises(ActorStopped):
        await actor.ask(1)
    with pytest.raises(ActorStopped):
        await actor.tell(1)


async def test_a_full_inbox_makes_the_sender_wait() -> None:
    actor, go = Recorder(), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.run)
        await actor.tell(go)
        for number in range(INBOX_SIZE):
            await actor.tell(number)
        with trio.move_on_after(0.05) as scope:
            await actor.tell("one too many")
        assert scope.cancelled_caught
        go.set()
        actor.stop()
