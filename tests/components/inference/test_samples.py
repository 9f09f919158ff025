"""Lines that leave as they came, but for the fields that are put into them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.inference.samples import read_samples, with_fields, with_value, write_lines
from sandbox_actors.errors import ComponentFailed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", '{"r": 1}'),
        ('{"a":1.0}', '{"a":1.0,"r":1}'),
        ('{"a": 1.0}', '{"a": 1.0, "r": 1}'),
        ('{ "a" : 1E5 }', '{ "a" : 1E5, "r": 1 }'),
        ('{"r": {"x": [1, "}"]}, "a": 2}', '{"r": 1, "a": 2}'),
        ('{"a": {"r": 5}, "r":null}', '{"a": {"r": 5}, "r":1}'),
        ('{"\\u0072": 7}', '{"\\u0072": 1}'),
        ('{"r": 1, "r": 2}', '{"r": 1, "r": 1}'),
    ],
)
def test_a_field_is_put_in_and_nothing_else_is_touched(text: str, expected: str) -> None:
    assert with_fields(text, {"r": 1}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", '{"s": {"m": 1}}'),
        ('{"a":1}', '{"a":1,"s":{"m": 1}}'),
        ('{"s": {"len": 5.0,  "x": 1e2}, "a": 2}', '{"s": {"len": 5.0,  "x": 1e2, "m": 1}, "a": 2}'),
        ('{"s": {"m": null}, "m": 3}', '{"s": {"m": 1}, "m": 3}'),
        ('{"s": null}', '{"s": {"m": 1}}'),
    ],
)
def test_a_value_is_put_below_other_keys(text: str, expected: str) -> None:
    assert json.loads(with_value(text, ["s", "m"], 1)) == json.loads(expected)
    assert with_value(text, ["s", "m"], 1) == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    sample=st.dictionaries(st.sampled_from(["a", "b", "r", '"', "é"]) | st.text(), VALUES),
    fields=st.dictionaries(st.sampled_from(["a", "r", '"', "new"]), VALUES, min_size=1),
    is_compact=st.booleans(),
    is_ascii=st.booleans(),
)
def test_the_line_says_what_the_sample_with_the_fields_says(
    sample: dict[str, object], fields: dict[str, object], is_compact: bool, is_ascii: bool
) -> None:
    text = json.dumps(sample, separators=(",", ":") if is_compact else None, ensure_ascii=is_ascii)
    changed = json.loads(with_fields(text, fields))
    assert changed == {**sample, **fields}
    assert list(changed)[: len(sample)] == list(sample)


def test_half_a_surrogate_pair_is_written_as_an_escape(tmp_path: Path) -> None:
    write_lines(tmp_path / "out", [with_fields('{"a": 1}', {"r": "\ud800", "s": "é"})])
    assert (tmp_path / "out").read_text(encoding="utf-8") == '{"a": 1, "r": "\\ud800", "s": "é"}\n'


def test_samples_are_read_line_by_line_with_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes('\ufeff{"a": 1}\r\n\n  \n{"b": "\u2028"} \n'.encode())
    assert [(each.number, each.text) for each in read_samples(tmp_path / "in")] == [
        (1, '{"a": 1}'),
        (4, '{"b": "\u2028"}'),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a"', "line 2: not JSON"),
        (b"[1]\n", "line 1: a sample must be an object"),
        (b"\xff\n", "line 1: not"),
    ],
)
def test_what_is_no_sample_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "in").write_bytes(content)
    with pytest.raises(ComponentFailed, match=message):
        list(read_samples(tmp_path / "in"))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def lines() -> object:
        yield "one"
        raise RuntimeError("cut off")

    (tmp_path / "out").write_text("before\n")
    with pytest.raises(RuntimeError):
        write_lines(tmp_path / "out", lines())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "before\n"
