"""Inference with any API that takes what OpenAI's chat completions take."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from components.inference.answers import Unanswered
from components.inference.credentials import find_credentials
from components.inference.endpoint import Endpoint, check_headers, find_url
from components.inference.executor import InferExecutor, InferRun, Request
from components.inference.pace import Pace, backoff
from components.inference.settings import ApiSettings, InferSettings
from components.settings import check_known
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem

CLIENT_KEYS = ("base_url", "default_headers", "max_retries", "organization", "project", "timeout")
"""What `model_params` may hold: what OpenAI's client takes, less what is secret. `max_retry_num` counts instead of
`max_retries`."""

MOST_BACKOFF = 60.0
"""Seconds between two attempts at most, unless the server asks for more."""

FIRST_REFUSALS = 3
"""So many requests refused before any is answered: the next would fare no better."""


class ApiInferExecutor(InferExecutor):
    """Asks an API, many requests at once, for as long as it takes: see ApiSettings."""

    settings_kind: ClassVar[type[InferSettings]] = ApiSettings

    def settings(self) -> ApiSettings:
        settings: ApiSettings = super().settings()
        if "api_key" in settings.model_params:
            told = "a key in an experiment file is seen by everyone who reads it; name its variable in `api_key_env`"
            raise _problem("model_params.api_key", told)
        check_known(settings.model_params, CLIENT_KEYS, "inference", "model_params.")
        check_headers(settings.model_params.get("default_headers") or {})
        for name in ("messages", "model", "stream"):
            if name in settings.sampling_params:
                raise _problem(f"sampling_params.{name}", "is not for the sampling to say")
        if settings.max_concurrency < 1:
            raise _problem("max_concurrency", "at least one request has to be under way")
        return settings

    def identity(self, settings: ApiSettings) -> dict[str, Any]:
        endpoint = self._endpoint(settings)
        return {
            "type": "api",
            "url": endpoint.shown,
            "model": settings.model,
            "sampling_params": settings.sampling_params,
            "response_path": settings.response_path,
        }

    async def answer(self, run: InferRun, settings: ApiSettings) -> None:
        endpoint = self._endpoint(settings)
        async with endpoint.client(settings.max_concurrency) as client:
            asking = Asking(run, settings, endpoint, client)
            await asking.begin()
            requests = run.open_requests()
            await _together([asking.work(requests) for _ in range(settings.max_concurrency)])

    def _endpoint(self, settings: ApiSettings) -> Endpoint:
        params = settings.model_params
        named = {"OpenAI-Organization": params.get("organization"), "OpenAI-Project": params.get("project")}
        headers = {name: str(value) for name, value in named.items() if value}
        return Endpoint(
            url=find_url(settings.api_endpoint, params.get("base_url")),
            credentials=find_credentials(settings.api_key_env, settings.api_key_file, settings.api_key_header),
            response_path=settings.response_path,
            timeout=settings.request_timeout or float(params.get("timeout") or 600.0),
            max_bytes=settings.max_answer_bytes,
            headers={**headers, **(params.get("default_headers") or {})},
        )


class Asking:
    """The requests of a run under way to one endpoint, as fast as it allows."""

    def __init__(self, run: InferRun, settings: ApiSettings, endpoint: Endpoint, client: Any) -> None:
        self._run, self._settings, self._endpoint, self._client = run, settings, endpoint, client
        self._model = settings.model or ""
        self._pace = Pace(settings.max_concurrency)
        self._under_way = 0
        self._changed = asyncio.Event()
        self._chance = random.Random()

    async def begin(self) -> None:
        """Find out which model is meant."""
        if not self._model:
            try:
                self._model = await self._endpoint.first_model(self._client)
            except Unanswered as failure:
                raise ComponentFailed(f"no `model` is named, and none was found: {failure}") from None
            print(f"the model is {self._model}, the first that {self._endpoint.shown} lists")

    async def work(self, requests: Iterator[Request]) -> None:
        """Answer requests until there are no more. Raises ComponentFailed where it is of no use to go on."""
        for request in requests:
            await self._ask(request)

    async def _ask(self, request: Request) -> None:
        body = {"model": self._model, "messages": request.messages, **self._settings.sampling_params}
        for attempt in range(1, self._settings.max_retry_num + 2):
            try:
                async with self._turn():
                    answer = await self._endpoint.ask(self._client, body)
            except Unanswered as failure:
                wait = self._after(failure, attempt)
                if not failure.may_pass or attempt > self._settings.max_retry_num:
                    return self._refuse(request, failure, attempt)
                self._run.retried(str(failure))
                await asyncio.sleep(wait)
            else:
                self._pace.succeeded()
                return self._run.answered(request, *answer)
        return None

    def _after(self, failure: Unanswered, attempt: int) -> float:
        """Seconds until the request may be tried again; where the server asked for a pause, all others pause too."""
        wait = backoff(attempt, self._settings.retry_delay, MOST_BACKOFF, self._chance)
        if failure.wait is not None:
            if failure.wait > self._settings.max_wait:
                told = f"it asks to wait {failure.wait:.0f} s, and max_wait is {self._settings.max_wait:g}"
                raise ComponentFailed(f"{failure}; {told}. {_KEPT}")
            wait = failure.wait + wait * 0.1
        if failure.throttles:
            self._pace.throttled(time.monotonic(), wait)
            self._tell()
        return wait

    def _refuse(self, request: Request, failure: Unanswered, attempt: int) -> None:
        told = f"{failure}, {attempt} times" if attempt > 1 else str(failure)
        if failure.is_general:
            raise ComponentFailed(f"{told}. {_KEPT}")
        self._run.refused(request, told)
        if not self._run.has_answers and self._run.failed >= FIRST_REFUSALS:
            raise ComponentFailed(f"none of the first {self._run.failed} requests was answered: {told}. {_KEPT}")

    @asynccontextmanager
    async def _turn(self) -> Any:
        """Wait until one more request may be under way, and be it for the block."""
        while delay := self._pace.delay(time.monotonic(), self._under_way):
            changed = self._changed
            try:
                await asyncio.wait_for(changed.wait(), None if math.isinf(delay) else delay)
            except asyncio.TimeoutError:
                continue
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._tell()

    def _tell(self) -> None:
        """Let those who wait for their turn look again."""
        self._changed.set()
        self._changed = asyncio.Event()


_KEPT = "What was answered is kept: run it again and it goes on from there"


async def _together(workers: list[Any]) -> None:
    """Run all of them; the first error ends the others and is raised."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _problem(key: str, message: str) -> ConfigError:
    return ConfigError([Problem("inference", key, message)])
