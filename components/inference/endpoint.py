"""One OpenAI-compatible endpoint: its address, its credentials, and single requests to it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from components.inference.answers import Answer, Unanswered, read_answer
from components.inference.credentials import Credentials, find_credentials
from components.inference.settings import ApiSettings
from components.struct_settings import check_known
from sandbox_actors.errors import ConfigError, Problem

KEY_ADVICE = "a key in an experiment file is seen by every reader; name its variable in `api_key_env`"

CLIENT_KEYS = ("base_url", "default_headers", "max_retries", "organization", "project", "timeout")
"""The keys of `model_params`: the arguments of OpenAI's client without the secret ones. `max_retries` is accepted but
not used: `max_retry_num` is."""

BASE_URL = "https://api.openai.com/v1"
BASE_URL_VARIABLE = "OPENAI_BASE_URL"
CHAT_PATH = "/chat/completions"

_TIMEOUT = 600.0

CONNECT_TIMEOUT = 20.0
"""Seconds within which a server must accept a connection."""

_IS_BASE = re.compile(r"/?|.*/v\d\w*/?")
"""The path of an address that is the base of an API, not an endpoint."""

_SECRET_HEADERS = frozenset({"authorization", "api-key", "x-api-key", "proxy-authorization", "cookie"})


def find_url(api_endpoint: str | None, base_url: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The address of the requests: `api_endpoint` if that is one, else the path `api_endpoint` below the base, which is
    `base_url`, the environment's OPENAI_BASE_URL, or that of OpenAI. The default path is that of the chat completions.
    Raises ConfigError for an invalid address, and for one with a password in it."""
    endpoint = api_endpoint or ""
    if "://" not in endpoint:
        base = base_url or environ.get(BASE_URL_VARIABLE) or BASE_URL
        endpoint = f"{base.rstrip('/')}/{(endpoint or CHAT_PATH).lstrip('/')}"
    parts = urlsplit(endpoint)
    if parts.username or parts.password:
        raise _problem("api_endpoint", "contains a password, which every reader of the experiment would see")
    try:
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise _problem("api_endpoint", f"{endpoint!r} is not an address such as http://localhost:8000/v1")
    path = f"{parts.path.rstrip('/')}{CHAT_PATH}" if _IS_BASE.fullmatch(parts.path) else parts.path
    return parts._replace(path=path, fragment="").geturl()


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """`timeout` is for a whole request, in seconds; an answer may have `max_bytes`."""

    url: str
    credentials: Credentials
    response_path: str
    timeout: float
    max_bytes: int
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The address without its query, which may contain secrets."""
        return urlsplit(self.url)._replace(query="").geturl()

    def client(self, connections: int) -> Any:
        """An `httpx.AsyncClient` that keeps that many connections open. The caller closes it."""
        import httpx

        return httpx.AsyncClient(
            headers={**self.headers, **self.credentials.headers, "accept-encoding": "identity"},
            timeout=httpx.Timeout(self.timeout, connect=min(CONNECT_TIMEOUT, self.timeout)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def ask(self, client: Any, body: Mapping[str, Any]) -> Answer:
        """Raises Unanswered; its message contains the address but not the key."""
        content = json.dumps(body).encode()
        status, headers, answer = await self._exchange(client, "POST", self.url, content)
        return self._read(status, headers, answer, self.response_path)

    async def first_model(self, client: Any) -> str:
        """The name of the first model that the API lists. Raises Unanswered."""
        url = urlsplit(self.url)
        path = f"{url.path.removesuffix(CHAT_PATH)}/models"
        status, headers, answer = await self._exchange(client, "GET", url._replace(path=path).geturl(), None)
        return str(self._read(status, headers, answer, "data.0.id").output)

    def _read(self, status: int, headers: Mapping[str, str], body: bytes, response_path: str) -> Answer:
        try:
            answer = read_answer(status, headers, body, response_path, time.time())
        except Unanswered as failure:
            raise self._reported(failure) from None
        return answer._replace(output=self._cleansed(answer.output))

    async def _exchange(
        self, client: Any, method: str, url: str, content: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        import asyncio

        import httpx

        try:
            return await asyncio.wait_for(self._send(client, method, url, content), self.timeout)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            failure = Unanswered(f"did not answer within {self.timeout:g} s", may_pass=True)
        except httpx.ConnectError as error:
            message = f"cannot be reached: {error}; is the server running, and is this its address?"
            failure = Unanswered(message, may_pass=True)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            failure = Unanswered(f"failed: {type(error).__name__}: {error}", may_pass=True)
        except Unanswered as error:
            failure = error
        raise self._reported(failure) from None

    async def _send(
        self, client: Any, method: str, url: str, content: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {"content-type": "application/json"} if content is not None else {}
        async with client.stream(method, url, content=content, headers=headers) as response:
            chunks, size = [], 0
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if size > self.max_bytes:
                    limit = f"max_answer_bytes, {self.max_bytes}"
                    raise Unanswered(f"answered with more than {limit}; does `sampling_params` limit max_tokens?")
            return (
                response.status_code,
                {name.lower(): value for name, value in response.headers.items()},
                b"".join(chunks),
            )

    def _reported(self, failure: Unanswered) -> Unanswered:
        """The failure with the address in its message, and without the key."""
        message = f"{self.shown} {self.credentials.hide(str(failure))}"
        if failure.wants_key:
            message = f"{message}; {self._advice()}"
        failure.args = (message,)
        return failure

    def _advice(self) -> str:
        source = self.credentials.source
        if self.credentials.is_there:
            return f"it does not accept the key in {source}"
        restart = "set it where the daemon is started, and restart the daemon: `sandbox daemon stop`"
        return f"no key was sent: {source} is not set; {restart}"

    def _cleansed(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.credentials.cleanse(value)
        if isinstance(value, list):
            return [self._cleansed(each) for each in value]
        return {key: self._cleansed(each) for key, each in value.items()} if isinstance(value, dict) else value


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises ConfigError for headers that carry keys, which must not be written in an experiment file."""
    for name in headers:
        if name.lower() in _SECRET_HEADERS:
            raise _problem(f"model_params.default_headers.{name}", KEY_ADVICE)


def endpoint_of(settings: ApiSettings) -> Endpoint:
    """Raises ConfigError for an invalid address or key."""
    params = settings.model_params
    named = {"OpenAI-Organization": params.get("organization"), "OpenAI-Project": params.get("project")}
    headers = {name: str(value) for name, value in named.items() if value}
    return Endpoint(
        url=find_url(settings.api_endpoint, params.get("base_url")),
        credentials=find_credentials(settings.api_key_env, settings.api_key_file, settings.api_key_header),
        response_path=settings.response_path,
        timeout=settings.request_timeout or float(params.get("timeout") or _TIMEOUT),
        max_bytes=settings.max_answer_bytes,
        headers={**headers, **(params.get("default_headers") or {})},
    )


def check_api(settings: ApiSettings) -> None:
    """Raises ConfigError for settings that no API accepts, and for a key that is written in the config."""
    if "api_key" in settings.model_params:
        raise _problem("model_params.api_key", KEY_ADVICE)
    check_known(settings.model_params, CLIENT_KEYS, "inference", "model_params.")
    check_headers(settings.model_params.get("default_headers") or {})
    for name in ("messages", "model", "stream"):
        if name in settings.sampling_params:
            raise _problem(f"sampling_params.{name}", "cannot be set in sampling_params")
    if settings.max_concurrency < 1:
        raise _problem("max_concurrency", "must be at least 1")


def _problem(key: str, message: str) -> ConfigError:
    return ConfigError([Problem("inference", key, message)])
