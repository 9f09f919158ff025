"""Requests to an API: many at once, repeated after failures, and not faster than the API allows."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from components.inference.answers import Answer, Unanswered
from components.inference.endpoint import Endpoint, endpoint_of
from components.inference.functions import Messages
from components.inference.rate_control import Pace, backoff
from components.inference.settings import ApiSettings
from sandbox_actors.errors import ComponentFailed

MOST_BACKOFF = 60.0
"""The longest pause between two attempts, in seconds, unless the server asks for a longer one."""


class Asker:
    """Asks one endpoint. Any number of tasks may call `ask` at once; they wait for their turn."""

    def __init__(self, settings: ApiSettings, endpoint: Endpoint, client: Any) -> None:
        self._settings, self._endpoint, self._client = settings, endpoint, client
        self._model = settings.model or ""
        self._pace = Pace(settings.max_concurrency)
        self._in_flight = 0
        self._changed = asyncio.Event()
        self._chance = random.Random()

    async def begin(self) -> None:
        """Determine which model is asked. Raises ComponentFailed."""
        if not self._model:
            try:
                self._model = await self._endpoint.first_model(self._client)
            except Unanswered as failure:
                raise ComponentFailed(f"the config names no `model`, and the API lists none: {failure}") from None
            print(f"the model is {self._model}, the first that {self._endpoint.shown} lists")

    async def ask(self, messages: Messages, retried: Callable[[str], None]) -> Answer:
        """The answer, after several attempts if needed; `retried` gets the reason of each failed one but the last.

        Raises Unanswered if only this request has failed, ComponentFailed if all others would fail too.
        """
        body = {"model": self._model, "messages": messages, **self._settings.sampling_params}
        attempt = 1
        while True:
            try:
                async with self._turn():
                    answer = await self._endpoint.ask(self._client, body)
            except Unanswered as failure:
                wait = self._after(failure, attempt)
                if failure.is_general:
                    raise ComponentFailed(str(failure)) from None
                if not failure.may_pass or attempt > self._settings.max_retry_num:
                    raise Unanswered(f"{failure}, {attempt} times" if attempt > 1 else str(failure)) from None
                retried(str(failure))
                await asyncio.sleep(wait)
                attempt += 1
            else:
                self._pace.succeeded()
                self._pace.hold(time.monotonic(), min(answer.wait, self._settings.max_wait))
                return answer

    def _after(self, failure: Unanswered, attempt: int) -> float:
        """Seconds until the next attempt. If the server asked for a pause, all requests pause."""
        wait = backoff(attempt, self._settings.retry_delay, MOST_BACKOFF, self._chance)
        if failure.wait is not None:
            if failure.wait > self._settings.max_wait:
                limit = f"max_wait is {self._settings.max_wait:g}"
                raise ComponentFailed(f"{failure}; it asks to wait {failure.wait:.0f} s, and {limit}")
            wait = failure.wait + wait * 0.1
        if failure.throttles:
            self._pace.throttled(time.monotonic(), wait)
            self._wake()
        return wait

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until one more request may be in flight, and count as one during the block."""
        while delay := self._pace.delay(time.monotonic(), self._in_flight):
            changed = self._changed
            try:
                await asyncio.wait_for(changed.wait(), None if math.isinf(delay) else delay)
            except asyncio.TimeoutError:
                continue
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._wake()

    def _wake(self) -> None:
        """Wake the tasks that wait for their turn."""
        self._changed.set()
        self._changed = asyncio.Event()


@asynccontextmanager
async def asking(settings: ApiSettings) -> AsyncIterator[Asker]:
    """An asker with its connections, which are closed at the end of the block. Raises ConfigError, ComponentFailed."""
    endpoint = endpoint_of(settings)
    async with endpoint.client(settings.max_concurrency) as client:
        asker = Asker(settings, endpoint, client)
        await asker.begin()
        yield asker
