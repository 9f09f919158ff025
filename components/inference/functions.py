"""From samples to the messages a model is asked, and from what it says to what is recorded.

Two functions divide the work, chosen by name in a config:

    build(item, **func_kwargs) -> [{"role": ..., "content": ...}, ...]
    parse(output, item, **func_kwargs) -> what is recorded

`item` is the sample, a dict. What `build` returns is one conversation; a list of conversations asks the model once for
each, and a list is recorded. A function of one's own is written `module:function`; the module is looked for in the
job's `component_path` and in its env.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from sandbox_actors.dotted import is_target
from sandbox_actors.errors import ConfigError, Problem, nearest

Messages = list[dict[str, Any]]

GRADING = (
    "Grade the text that follows as material to train a language model on: how well it is written, how complete it is, "
    "how much can be learnt from it. Answer with one number from 0 (of no use) to 1 (excellent), and nothing else."
)

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")


def build_messages(
    item: dict[str, Any], system_key: str = "system", query_key: str = "query", **_: Any
) -> list[dict[str, Any]]:
    """What the sample has under `query_key`, after what it has under `system_key`, if anything."""
    return [*_system(item, system_key), {"role": "user", "content": item[query_key]}]


def build_messages_for_math_qa(
    item: dict[str, Any],
    system_key: str = "system",
    query_key: str = "query",
    response_key: str = "response",
    **_: Any,
) -> list[dict[str, Any]]:
    """A question and the answer to be graded, after what the sample has under `system_key`, if anything."""
    content = f"Question: {item[query_key]}\nAnswer: {item[response_key]}"
    return [*_system(item, system_key), {"role": "user", "content": content}]


def build_messages_to_grade(
    item: dict[str, Any], text_key: str = "text", instruction: str = "", **_: Any
) -> list[dict[str, Any]]:
    """What the sample has under `text_key`, after the instruction to grade it."""
    return [{"role": "system", "content": instruction or GRADING}, {"role": "user", "content": item[text_key]}]


def parse_output(output: Any, item: dict[str, Any], **_: Any) -> Any:
    """What the model said, as it said it."""
    return output


def parse_number(output: Any, item: dict[str, Any], **_: Any) -> float:
    """The first number in what the model said. Raises ValueError where there is none."""
    found = _NUMBER.search(str(output))
    if found is None:
        raise ValueError(f"there is no number in {str(output)[:80]!r}")
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
    """One of `FUNCTIONS`, or the function of the user's that `module:function` names.

    Raises ConfigError at `key` for a name that is not known, and for a module that cannot be imported.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if not is_target(name):
        near = nearest(name, FUNCTIONS)
        hint = f", did you mean {near!r}?" if near else f"; known: {', '.join(FUNCTIONS)};"
        raise _problem(key, f"no function {name!r}{hint} one of your own is written module:function")
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        where = "its file has to lie in the job's component_path, or be installed in its env"
        raise _problem(key, f"cannot take {attribute} from {module}: {error}; {where}") from error
    if not callable(found):
        raise _problem(key, f"{name} is not a function, but {found!r}")
    return found  # type: ignore[no-any-return]


def conversations(built: Any) -> tuple[list[Messages], bool]:
    """What a build function returned, as conversations, and whether it was one or a list of them.

    Raises ValueError for what is neither.
    """
    if isinstance(built, list) and built and isinstance(built[0], dict):
        return [_checked(built)], True
    if isinstance(built, list) and all(isinstance(each, list) and each for each in built):
        return [_checked(each) for each in built], False
    raise ValueError(f"a list of messages is wanted, or a list of such lists, not {str(built)[:80]!r}")


def _checked(messages: Messages) -> Messages:
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message:
            raise ValueError(f"a message has a role and a content, which {str(message)[:80]!r} has not")
    return messages


def _system(item: dict[str, Any], key: str) -> Messages:
    return [{"role": "system", "content": item[key]}] if item.get(key) else []


def _problem(key: str, message: str) -> ConfigError:
    return ConfigError([Problem("inference", key, message)])
