from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.json_patch import changed, elements, members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)
STYLES: list[dict[str, Any]] = [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}]


@given(OBJECTS, OBJECTS, st.sampled_from(STYLES))
def test_what_is_put_in_is_there_and_the_rest_is_as_it_was(
    before: dict[str, Any], values: dict[str, Any], style: dict[str, Any]
) -> None:
    text = json.dumps(before, **style)
    after = changed(text, values)
    assert json.loads(after) == {**before, **values}
    written = {key: after[start:end] for key, start, end in members(after)}
    assert all(written[key] == text[start:end] for key, start, end in members(text) if key not in values)
    assert list(json.loads(after)) == [*before, *(key for key in values if key not in before)]


@given(OBJECTS, st.sampled_from(STYLES))
def test_values_that_are_there_already_change_nothing(before: dict[str, Any], style: dict[str, Any]) -> None:
    text = json.dumps(before, **style)
    assert changed(text, before) == text


@given(st.lists(VALUES, max_size=4), st.sampled_from(STYLES))
def test_the_elements_of_a_list_are_found(values: list[Any], style: dict[str, Any]) -> None:
    text = json.dumps(values, **style)
    assert [json.loads(text[start:end]) for start, end in elements(text)] == values


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ('{"a": 1.00,  "é": "\\u00e9"}', '{"a": 1.00,  "é": "\\u00e9", "b": "ü"}'),
        ("{}", '{"b": "ü"}'),
        ("{ }", '{ "b": "ü"}'),
        ('{"b":0 , "a" : 1e2 }', '{"b":"ü" , "a" : 1e2 }'),
        ('{\n "a": 1\n}', '{\n "a": 1, "b": "ü"\n}'),
    ],
)
def test_numbers_escapes_and_blanks_stay(text: str, after: str) -> None:
    assert changed(text, {"b": "ü"}) == after
