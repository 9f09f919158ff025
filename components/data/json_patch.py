"""JSON objects changed in their text, so that what is not changed stays as it was written.

Parsed and written again, `1.0` may become `1.00`, `\\u00e9` become `é`, and keys lose their spacing; a sample whose
caption gets a token put before it should differ by that token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BLANKS = re.compile(r"[ \t\n\r,:]*")
"""What stands between keys, values and elements; the text is JSON, so that more than that need not be told apart."""

_decode = json.JSONDecoder().raw_decode


def changed(text: str, values: Mapping[str, Any]) -> str:
    """The JSON object `text` with these values: put in the place of those it has, the others added at its end.

    A value that is there already is left as it is written. `text` has to be a JSON object.
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
    """Each key of a JSON object, and from where to where its value is written."""
    position = _after_blanks(text, text.index("{") + 1)
    while text[position] != "}":
        key, position = _decode(text, position)
        start = _after_blanks(text, position)
        _, end = _decode(text, start)
        yield key, start, end
        position = _after_blanks(text, end)


def elements(text: str) -> Iterator[tuple[int, int]]:
    """From where to where each element of a JSON list is written."""
    position = _after_blanks(text, text.index("[") + 1)
    while text[position] != "]":
        _, end = _decode(text, position)
        yield position, end
        position = _after_blanks(text, end)


def _after_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    assert match is not None  # it matches nothing too
    return match.end()


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
