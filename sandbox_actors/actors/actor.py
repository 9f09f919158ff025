"""Actors of the daemon's own process: an inbox, one message at a time, and an answer to every ask.

Theory of operation. An actor is one task that owns some state and takes messages from an inbox, in the order in which
they came. Handling one message is never interrupted by another one, and never by its sender: a sender that is
cancelled stops waiting, and its message is handled all the same. So a decision of several steps is made whole, and
two that contradict each other (resume twice at once, cancel while it starts) are made one after the other.

- `ask` waits for the answer. An error raised while the message is handled is the answer, and the actor lives on.
- `tell` waits only while the inbox is full. An error goes to `on_failure`, which by default ends the actor.
- `notify` never waits: for the actor's own tasks and callbacks, which must not be held up by their own inbox.
- A handler must not wait for what takes long, since everyone behind it waits too. It starts a task and returns a
  promise from `promise()`: that is the answer, kept by the task when there is one.
- An actor that stops answers every open ask with ActorStopped.

Component actors are processes: `transport.gateway.Peer` is what the daemon asks and tells there, in the same words.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakSet

import trio

from sandbox_actors.errors import ActorStopped
from sandbox_actors.protocol.frames import Answer, Request
from sandbox_actors.transport.promises import Promise

INBOX_SIZE = 256
"""Messages from outside that may wait in an inbox."""


class _Letter(NamedTuple):
    message: Any
    promise: Promise[Any] | None
    takes_room: bool


class Actor:
    """Base of the actors in this process. Subclasses implement `on_receive`, and the other three where they need to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._inbox_in, self._inbox_out = trio.open_memory_channel[_Letter](math.inf)
        self._room = trio.Semaphore(INBOX_SIZE)
        self._promised: WeakSet[Promise[Any]] = WeakSet()
        self._stopped = trio.Event()

    # --- for subclasses ---

    async def on_start(self) -> None:
        """Before the first message. An error here ends the actor: every ask is answered with ActorStopped."""

    async def on_receive(self, message: Any) -> Any:
        """Handle one message. The return value is the answer to an ask; of a promise, what it will hold."""
        raise NotImplementedError

    async def on_failure(self, message: Any, error: Exception) -> None:
        """`message` was not asked, and handling it raised. By default the error ends the actor."""
        raise error

    async def on_stop(self) -> None:
        """After the last message, also when the actor was cancelled or failed. Must not wait without bound."""

    def promise(self) -> Promise[Any]:
        """An answer that a task of the actor will keep; broken off with ActorStopped if the actor stops before."""
        made = Promise[Any]()
        self._promised.add(made)
        return made

    # --- for others ---

    async def ask(self, request: Request[Answer]) -> Answer:
        """Send `request` and wait for its answer. Raises what handling it raised, or ActorStopped."""
        promise = Promise[Any]()
        await self._put(request, promise)
        answer = await promise.wait()
        if isinstance(answer, Promise):
            answer = await answer.wait()
        answered: Answer = answer
        return answered

    async def tell(self, message: Any) -> None:
        """Send `message`; return when it is in the inbox. Raises ActorStopped."""
        await self._put(message, None)

    def notify(self, message: Any) -> None:
        """Send `message` at once, whether there is room or not; an actor that takes no more messages drops it."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self._inbox_in.send_nowait(_Letter(message, None, takes_room=False))

    def stop(self) -> None:
        """Take no further messages; what is in the inbox is still handled. `wait_stopped` returns afterwards."""
        self._inbox_in.close()

    async def wait_stopped(self) -> None:
        await self._stopped.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The actor's life, in its parent's nursery. Returns after `stop`, raises what ended it otherwise."""
        try:
            await self.on_start()
            task_status.started()
            async for letter in self._inbox_out:
                if letter.takes_room:
                    self._room.release()
                await self._handle(letter.message, letter.promise)
        finally:
            self._refuse_waiting()
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
                promise.reject(error)
        except BaseException:
            if promise is not None:
                promise.reject(self._stopped_error())
            raise
        else:
            if promise is not None:
                promise.resolve(answer)

    async def _put(self, message: Any, promise: Promise[Any] | None) -> None:
        try:
            self._room.acquire_nowait()  # no checkpoint: what a client has sent before it left is still delivered
        except trio.WouldBlock:
            await self._room.acquire()
        try:
            self._inbox_in.send_nowait(_Letter(message, promise, takes_room=True))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._room.release()  # the next sender in line is refused like this one
            raise self._stopped_error() from None

    def _refuse_waiting(self) -> None:
        self._inbox_in.close()
        while True:
            try:
                letter = self._inbox_out.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            if letter.promise is not None:
                letter.promise.reject(self._stopped_error())
        self._inbox_out.close()
        self._room.release()
        for promised in list(self._promised):
            promised.reject(self._stopped_error())

    def _stopped_error(self) -> ActorStopped:
        return ActorStopped(f"actor {self.name} has stopped")
