"""JSON for readers that follow its standard."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from sandbox_actors.protocol import strict_json
from sandbox_actors.protocol.rows import points_of


def strictly(text: str) -> Any:
    """As a reader reads it that knows the standard only."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_documents_are_strict_json_on_one_line_of_ascii() -> None:
    text = strict_json.dumps({"a": [math.nan, math.inf, -math.inf, 1.5], "b": {1: "\x9b\x1b\u2028é\n"}})
    assert text.isascii()
    assert text.isprintable()
    assert strictly(text) == {"a": ["NaN", "Infinity", "-Infinity", 1.5], "b": {"1": "\x9b\x1b\u2028é\n"}}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_text_of_a_watched_list_is_strict_json(value: float) -> None:
    (point,) = points_of([1.0, value], "name")
    assert isinstance(point.value, str)
    assert strictly(point.value) == [1.0, {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]]
