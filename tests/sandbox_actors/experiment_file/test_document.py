"""YAML and JSON files: their values, the lines of these, and everything that is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sandbox_actors.experiment_file.document import MAX_BYTES, Document, parse_value, read_document


def read(folder: Path, text: str | bytes, name: str = "file.yaml") -> Document:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_document(str(file))


def messages(document: Document) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in document.errors]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("3e-4", 0.0003),
        ("3E-4", 0.0003),
        ("1_000", 1000),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("0b101", 5),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("1:30", "1:30"),
        ("2024-05-01", "2024-05-01"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        ("-", [None]),
        ("'3'", "3"),
        ("!!str 3", "3"),
        ("<replaced_by_the_input>", "<replaced_by_the_input>"),
        ("-1.output", "-1.output"),
        ("[1, 'a', {b: c}]", [1, "a", {"b": "c"}]),
        ("[true, yes]", [True, True]),
    ],
)
def test_plain_words_and_numbers_are_read_as_data_juicer_sandbox_reads_them(text: str, value: Any) -> None:
    read_as = parse_value(text)
    assert read_as == value
    assert type(read_as) is type(value)


def test_a_word_that_yaml_versions_read_differently_is_a_boolean_with_a_warning(tmp_path: Path) -> None:
    document = read(tmp_path, "lang: no\nresume: on\nquoted: 'no'\n")
    assert document.value == {"lang": False, "resume": True, "quoted": "no"}
    assert [warning.path for warning in document.warnings] == ["lang", "resume"]
    assert "line 1" in document.warnings[0].message


def test_keys_of_a_mapping_override_those_merged_into_it(tmp_path: Path) -> None:
    text = "base: &base {lr: 1, steps: 2}\nother: &other {steps: 3, seed: 4}\njob:\n  <<: [*base, *other]\n  lr: 5\n"
    assert read(tmp_path, text).value["job"] == {"steps": 2, "seed": 4, "lr": 5}


def test_every_duplicate_key_is_an_error_with_its_line(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n")
    assert messages(document) == [
        "b.c: the key occurs twice in one mapping (line 4)",
        "a: the key occurs twice in one mapping (line 5)",
    ]


def test_an_error_in_yaml_is_reported_with_its_line(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 1\nb: [1, 2\nc: 3\n")
    assert document.value is None
    assert len(document.errors) == 1
    assert document.errors[0].message.startswith("not YAML: ")
    assert "line 3" in document.errors[0].message


def test_an_error_in_json_is_reported_with_its_line(tmp_path: Path) -> None:
    document = read(tmp_path, '{\n "a": 1,\n "b" 2\n}\n', "file.json")
    assert messages(document) == [f": not JSON: {document.errors[0].message[10:]}"]
    assert "line 3" in document.errors[0].message


def test_duplicate_keys_and_numbers_are_checked_in_json_too(tmp_path: Path) -> None:
    document = read(tmp_path, '{"a": {"b": 1, "b": 2}, "c": [NaN], "d": 36893488147419103232}', "file.json")
    assert [path for path, _, _ in (each.partition(":") for each in messages(document))] == ["b", "c.0", "d"]


def test_a_json_file_that_starts_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, b'\xef\xbb\xbf{"a": 1}', "file.json").value == {"a": 1}


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", str(2**64)])
def test_a_number_that_json_cannot_hold_is_an_error(tmp_path: Path, number: str) -> None:
    document = read(tmp_path, f"steps: {number}\n")
    assert [problem.path for problem in document.errors] == ["steps"]


def test_half_of_a_character_is_an_error_because_no_message_can_hold_it(tmp_path: Path) -> None:
    text = '{"good": "\\u00e9 \\ud83d\\ude00", "list": ["\\udcff"], "\\ud800": 1}'
    assert messages(read(tmp_path, text, "a.json")) == [
        r"list.0: contains '\udcff', half of a character; write the character itself",
        r"'\ud800': contains '\ud800', half of a character; write the character itself",
    ]
    assert "invalid Unicode" in messages(read(tmp_path, text, "a.yaml"))[0]


def test_keys_that_are_not_text_are_read_as_text_with_a_warning(tmp_path: Path) -> None:
    document = read(tmp_path, "labels: {0: cat, yes: dog}\n'1': bird\n")
    assert document.value == {"labels": {"0": "cat", "yes": "dog"}, "1": "bird"}
    assert [warning.path for warning in document.warnings] == ["labels.0", "labels.yes"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: !!python/object/apply:os.getcwd []", "the tag"),
        ("a: !!set {b}", "the tag"),
        ("a: !!binary aGk=", "the tag"),
        ("a: !!int x", "'x' is not a valid int"),
        ("{[1]: 2}", "a key must be text"),
        ("<<: 3", "needs a mapping"),
        ("a: &a [*a]", "contains itself"),
        ("- a\n--- \n- b", "not YAML"),
        (b"a: \xff\xfe", "cannot be read as text"),
        ("\x00", "cannot be read as text"),
    ],
)
def test_yaml_that_no_experiment_needs_is_refused(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    document = read(tmp_path, text)
    assert document.errors
    assert complaint in document.errors[0].message


def test_aliases_that_multiply_are_counted_and_refused(tmp_path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    document = read(tmp_path, "\n".join(["l0: &l0 [x]", *levels]))
    assert "more than 1000000 values" in document.errors[0].message


@pytest.mark.parametrize("name", ["file.yaml", "file.json"])
@pytest.mark.parametrize("text", ["[" * 200_000, "[" * 150 + "]" * 150, '{"a":' * 200_000])
def test_deep_nesting_is_an_error_not_a_crash(tmp_path: Path, name: str, text: str) -> None:
    document = read(tmp_path, text, name)
    assert document.value is None
    assert "nested more than 100 levels deep" in document.errors[0].message
    assert document.line(("a",)) is None


def test_brackets_in_a_text_are_not_nesting(tmp_path: Path) -> None:
    document = read(tmp_path, f'a: "{"[" * 300}"\nb: [1\n')
    assert "not YAML: while parsing a flow sequence" in document.errors[0].message


def test_paths_that_are_not_readable_files_have_an_error_of_their_own_each(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    big = tmp_path / "big.yaml"
    with big.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    files = (tmp_path / "none", tmp_path, pipe, big)
    assert [read_document(str(file)).errors[0].message for file in files] == [
        "no such file",
        "is a folder, not a file",
        "is not a regular file",
        "is longer than 16 MiB",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("file.yaml", "a:\n  - x: 1\n  - y: 2\n    z: 3\n"),
        ("file.json", '{"a": [\n {"x": 1},\n {"y": 2,\n "z": 3}]}'),
    ],
)
def test_a_value_has_a_line_and_a_missing_one_that_of_the_value_around_it(tmp_path: Path, name: str, text: str) -> None:
    document = read(tmp_path, text, name)
    assert document.line(("a", 1, "z")) == 4
    assert document.line(("a", 1, "nothing")) == 3
    assert document.line(()) is None
