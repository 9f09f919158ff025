"""Reads the answers of OpenAI-compatible APIs: the model's output, or what went wrong and what to do about it.

Pure: from status, headers and body to an `Answer`, or to the `Unanswered` that is raised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from components.inference.rate_control import asked_wait
from sandbox_actors.dotted import find, find_or_none
from sandbox_actors.errors import ContextError

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_QUOTED = 200
"""Characters of a server's message that an error quotes."""


class Answer(NamedTuple):
    """`output` is the value at the response path. Tokens are as the API counts them, 0 if it does not. `wait`: seconds
    that it asks to wait before the next request."""

    output: Any
    prompt_tokens: int = 0
    completion_tokens: int = 0
    wait: float = 0.0


class Unanswered(Exception):
    """A request that failed.

    may_pass    another attempt may succeed
    wait        seconds that the server asks to wait before it, None if it does not
    throttles   the server reports too many requests, which concerns all of them
    is_general  every other request would fail too
    wants_key   the server does not accept the key, or needs one
    """

    def __init__(
        self,
        message: str,
        *,
        may_pass: bool = False,
        wait: float | None = None,
        throttles: bool = False,
        is_general: bool = False,
        wants_key: bool = False,
    ) -> None:
        super().__init__(message)
        self.may_pass, self.wait, self.throttles = may_pass, wait, throttles
        self.is_general, self.wants_key = is_general, wants_key


def read_answer(status: int, headers: Mapping[str, str], body: bytes, response_path: str, wall_clock: float) -> Answer:
    """Raises Unanswered. Its message quotes the server, so the caller must hide the key in it."""
    if not 200 <= status < 300:
        raise _refusal(status, headers, body, wall_clock)
    document = _json(body)
    if document is None:
        raise Unanswered(f"answered {status} with something that is not JSON: {_quoted(body)}", may_pass=True)
    if isinstance(document, dict) and document.get("error") and "choices" not in document:
        raise Unanswered(f"answered {status} with an error: {_said(body)}", may_pass=True)
    usage = document.get("usage") if isinstance(document, dict) else None
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return Answer(value_at(document, response_path), prompt, completion, asked_wait(headers, wall_clock) or 0.0)


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path. Raises Unanswered if it is missing or null."""
    try:
        value = find(document, path)
    except ContextError as error:
        raise Unanswered(
            f"the answer has nothing at {path}: {_quoted(str(error).encode('utf-8', 'replace'))}"
        ) from None
    if value is None:
        finish = _finish_reason(document)
        raise Unanswered(f"the answer has null at {path}{f', finish_reason {finish!r}' if finish else ''}")
    return value


def _refusal(status: int, headers: Mapping[str, str], body: bytes, wall_clock: float) -> Unanswered:
    said, wait = _said(body), asked_wait(headers, wall_clock)
    answer = f"answered {status}{f': {said}' if said else ''}"
    if status == 429 and _has_no_quota(body):
        return Unanswered(f"{answer}; the account has no quota left: see its billing", is_general=True)
    if status in (401, 403):
        return Unanswered(answer, is_general=True, wants_key=True)
    if status == 402:
        return Unanswered(f"{answer}; it must be paid first: see the account's billing", is_general=True)
    if status in (404, 405, 410):
        return Unanswered(f"{answer}; does it have this `model`, and is `api_endpoint` its address?", is_general=True)
    if 300 <= status < 400:
        place = headers.get("location", "elsewhere")
        return Unanswered(f"{answer}, a redirect to {place}: write that address as `api_endpoint`", is_general=True)
    if status in _PASSING or status > 504:
        return Unanswered(answer, may_pass=True, wait=wait, throttles=status in (429, 529) or wait is not None)
    return Unanswered(f"{answer}; it refuses the request: see `sampling_params` and the sample's messages")


def _has_no_quota(body: bytes) -> bool:
    error = _error(body)
    return isinstance(error, dict) and "insufficient_quota" in (error.get("code"), error.get("type"))


def _said(body: bytes) -> str:
    """The message of an error, in the forms that servers use."""
    error = _error(body)
    if isinstance(error, dict):
        error = error.get("message", error)
    return _quoted(body if error is None else str(error).encode("utf-8", "replace"))


def _error(body: bytes) -> Any:
    document = _json(body)
    if not isinstance(document, dict):
        return None
    return next((document[name] for name in ("error", "detail", "message") if document.get(name)), None)


def _quoted(body: bytes) -> str:
    """The beginning of a text, on one line, without control characters."""
    text = " ".join(body[: 4 * _QUOTED].decode("utf-8", "replace").split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."


def _finish_reason(document: Any) -> str:
    return str(find_or_none(document, "choices.0.finish_reason") or "")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _count(usage: Any, name: str) -> int:
    number = usage.get(name) if isinstance(usage, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 0
