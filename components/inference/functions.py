"""From a sample to the messages that a model gets, and from its output to the value that is recorded.

A config names two functions:

    build(item, **func_kwargs) -> [{"role": ..., "content": ...}, ...]
    parse(output, item, **func_kwargs) -> the value that is recorded

`item` is the sample, a dict. `build` returns one conversation, or a list of conversations: then the model is asked once
for each, and a list is recorded. A user's own function is written `module:function`; the module is searched in the
job's `component_path` and in its env.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from sandbox_actors.dotted import is_target
from sandbox_actors.errors import ConfigError, Problem, did_you_mean, nearest

Messages = list[dict[str, Any]]

GRADING = (
    "Grade the text that follows as material to train a language model on: how well it is written, how complete it is, "
    "how much can be learnt from it. Answer with one number from 0 (of no use) to 1 (excellent), and nothing else."
)

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")


def build_messages(
    item: dict[str, Any], system_key: str = "system", query_key: str = "query", **_: Any
) -> list[dict[str, Any]]:
    """The value under `query_key` as the user's message, after the one under `system_key`, if there is one."""
    return [*_system(item, system_key), {"role": "user", "content": item[query_key]}]


def build_messages_for_math_qa(
    item: dict[str, Any],
    system_key: str = "system",
    query_key: str = "query",
    response_key: str = "response",
    **_: Any,
) -> list[dict[str, Any]]:
    """A question with the answer to be graded, after the system message under `system_key`, if there is one."""
    content = f"Question: {item[query_key]}\nAnswer: {item[response_key]}"
    return [*_system(item, system_key), {"role": "user", "content": content}]


def build_messages_to_grade(
    item: dict[str, Any], text_key: str = "text", instruction: str = "", **_: Any
) -> list[dict[str, Any]]:
    """The text under `text_key`, after the instruction to grade it."""
    return [{"role": "system", "content": instruction or GRADING}, {"role": "user", "content": item[text_key]}]


def parse_output(output: Any, item: dict[str, Any], **_: Any) -> Any:
    """The model's output, unchanged."""
    return output


def parse_number(output: Any, item: dict[str, Any], **_: Any) -> float:
    """The first number in the model's output. Raises ValueError if there is none."""
    found = _NUMBER.search(str(output))
    if found is None:
        raise ValueError(f"no number found in {str(output)[:80]!r}")
    return float(found.group())


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        build_messages,
        build_messages_for_math_qa,
        build_messages_to_grade,
        parse_output,
        parse_number,
    )
}


def function_named(name: str, key: str) -> Callable[..., Any]:
    """One of `FUNCTIONS`, or the user's function that `module:function` names.

    Raises ConfigError at `key` for an unknown name, and for a module that cannot be imported.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if not is_target(name):
        own = "" if nearest(name, FUNCTIONS) else "; a function of your own is written module:function"
        raise _problem(key, f"no function {name!r}{did_you_mean(name, FUNCTIONS)}{own}")
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        where = "its file must be in the job's component_path, or be installed in its env"
        raise _problem(key, f"cannot import {attribute} from {module}: {error}; {where}") from error
    if not callable(found):
        raise _problem(key, f"{name} must be a function, not {found!r}")
    return found  # type: ignore[no-any-return]


def conversations(built: Any) -> tuple[list[Messages], bool]:
    """The result of a build function as conversations, and whether it was a single one.

    Raises ValueError if it is neither one conversation nor a list of them.
    """
    if isinstance(built, list) and built and isinstance(built[0], dict):
        return [_checked(built)], True
    if isinstance(built, list) and all(isinstance(each, list) and each for each in built):
        return [_checked(each) for each in built], False
    raise ValueError(f"must return a list of messages, or a list of such lists, not {str(built)[:80]!r}")


def _checked(messages: Messages) -> Messages:
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message:
            raise ValueError(f"a message must have a role and a content: {str(message)[:80]!r}")
    return messages


def _system(item: dict[str, Any], key: str) -> Messages:
    return [{"role": "system", "content": item[key]}] if item.get(key) else []


def _problem(key: str, message: str) -> ConfigError:
    return ConfigError([Problem("inference", key, message)])
