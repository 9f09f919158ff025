"""Changes JSON objects in their text, so that everything else stays as it was written.

Parsing and writing would change the form of numbers, escapes such as `\\u00e9`, and spacing; but a sample whose caption
gets a token in front should differ only by that token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BLANKS = re.compile(r"[ \t\n\r,:]*")
"""Separators of keys, values and elements. The text is valid JSON, so they need not be distinguished."""

_decode = json.JSONDecoder().raw_decode


def changed(text: str, values: Mapping[str, Any]) -> str:
    """The JSON object `text` with these values: existing keys are replaced, new ones are added at the end.

    A value that is already equal keeps its form. `text` must be a JSON object.
    """
    spans = {key: (start, end) for key, start, end in members(text)}
    pieces, position = [], 0
    for key in sorted((key for key in values if key in spans), key=spans.__getitem__):
        start, end = spans[key]
        if json.loads(text[start:end]) != values[key]:
            pieces += [text[position:start], _written(values[key])]
            position = end
    closing = text.rindex("}")
    head = text[position:closing]
    added = [f"{_written(key)}: {_written(value)}" for key, value in values.items() if key not in spans]
    if added and spans:
        body = head.rstrip()
        return "".join([*pieces, body, ", ", ", ".join(added), head[len(body) :], text[closing:]])
    return "".join([*pieces, head, ", ".join(added), text[closing:]])


def members(text: str) -> Iterator[tuple[str, int, int]]:
    """Each key of a JSON object, with the start and end of its value."""
    position = _after_blanks(text, text.index("{") + 1)
    while text[position] != "}":
        key, position = _decode(text, position)
        start = _after_blanks(text, position)
        _, end = _decode(text, start)
        yield key, start, end
        position = _after_blanks(text, end)


def elements(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of each element of a JSON list."""
    position = _after_blanks(text, text.index("[") + 1)
    while text[position] != "]":
        _, end = _decode(text, position)
        yield position, end
        position = _after_blanks(text, end)


def _after_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    assert match is not None  # it also matches an empty text
    return match.end()


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
