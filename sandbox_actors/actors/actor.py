"""Actors: an inbox, one message at a time, and an answer for everyone who asks.

An actor is a task with a bounded inbox. `tell` puts a message there and waits only while the inbox is full; `ask`
waits for the answer too. An error raised while handling a message goes to whoever asked; raised while handling a
told message it goes to `on_failure`. When an actor stops, everyone who still waits for it gets ActorStopped.

`ActorRef` is the face of an actor, the same for one in this process (`Actor.ref`) and for one behind a socket
(`gateway.Peer`).
"""

from __future__ import annotations

from typing import Any, Protocol

import trio

from sandbox_actors.errors import ActorStopped
from sandbox_actors.transport.promises import Promise

INBOX_SIZE = 256


class ActorRef(Protocol):
    """What others hold of an actor."""

    @property
    def name(self) -> str: ...

    async def ask(self, message: Any) -> Any:
        """Send `message` and wait for the answer. Cancelling the wait tells the actor that nobody waits any more."""

    async def tell(self, message: Any) -> None:
        """Send `message`; return when it is in the inbox."""


class Actor:
    """Base of the actors in this process. Subclasses implement `on_receive`, and the other three where they need to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._inbox_in, self._inbox_out = trio.open_memory_channel[tuple[Any, Promise[Any] | None]](INBOX_SIZE)
        self._stopped = trio.Event()

    # --- what subclasses say ---

    async def on_start(self) -> None:
        """Before the first message. An error here ends the actor: everyone who asks gets ActorStopped."""

    async def on_receive(self, message: Any) -> Any:
        """Handle one message; the return value is the answer to an ask."""
        raise NotImplementedError

    async def on_failure(self, message: Any, error: Exception) -> None:
        """`message` was told, not asked, and handling it raised. By default the error ends the actor."""
        raise error

    async def on_stop(self) -> None:
        """After the last message, also when the actor was cancelled or failed. Must not wait without bound."""

    # --- what others do with it ---

    async def ask(self, message: Any) -> Any:
        promise = Promise[Any]()
        await self._put(message, promise)
        return await promise.wait()

    async def tell(self, message: Any) -> None:
        await self._put(message, None)

    def stop(self) -> None:
        """Take no further messages; what is in the inbox is still handled. `stopped` is set afterwards."""
        self._inbox_in.close()

    async def wait_stopped(self) -> None:
        await self._stopped.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The actor's life, in its parent's nursery. Returns after `stop`, raises what ended it otherwise."""
        try:
            await self.on_start()
            task_status.started()
            async for message, promise in self._inbox_out:
                await self._handle(message, promise)
        finally:
            self._turn_away_waiting()
            with trio.CancelScope(shield=True):
                await self.on_stop()
            self._stopped.set()

    async def _handle(self, message: Any, promise: Promise[Any] | None) -> None:
        try:
            answer = await self.on_receive(message)
        except Exception as error:
            if promise is None:
                await self.on_failure(message, error)
            else:
                promise.break_off(error)
        except BaseException:
            if promise is not None:
                promise.break_off(self._stopped_error())
            raise
        else:
            if promise is not None:
                promise.keep(answer)

    async def _put(self, message: Any, promise: Promise[Any] | None) -> None:
        try:
            await self._inbox_in.send((message, promise))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._stopped_error() from None

    def _turn_away_waiting(self) -> None:
        self._inbox_in.close()
        while True:
            try:
                _, promise = self._inbox_out.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            if promise is not None:
                promise.break_off(self._stopped_error())
        self._inbox_out.close()

    def _stopped_error(self) -> ActorStopped:
        return ActorStopped(f"actor {self.name} has stopped")
