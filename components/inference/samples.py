"""Samples edited as lines of JSON: fields that do not change keep every byte."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, NamedTuple

from components.data.jsonl import read_lines
from sandbox_actors.files import whole_file

_decode = json.JSONDecoder().raw_decode
_BLANK = " \t\r\n"


class Sample(NamedTuple):
    """`text` is the line without its end, `item` its value, `number` the number of the line, from 1."""

    number: int
    text: str
    item: dict[str, Any]


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples of a jsonl file, gzipped or not, one by one; blank lines are skipped.

    Raises ComponentFailed with file and line for a line that is not a sample.
    """
    for line in read_lines(path):
        text = line.text.removeprefix("\ufeff").strip(_BLANK)
        try:
            item = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise line.error(f"not JSON: {error}") from error
        if not isinstance(item, dict):
            raise line.error(f"a sample must be an object, not {text[:40]}")
        yield Sample(line.number, text, item)


def with_value(text: str, path: Sequence[str], value: Any) -> str:
    """The line `text` with this value at the path of keys. Missing objects on the way are made."""
    name, *below = path
    if not below:
        return with_fields(text, {name: value})
    inner = next((text[start:end] for each, start, end in _values(text) if each == name), "{}")
    return _put(text, {name: with_value(inner if inner.startswith("{") else "{}", below, value)})


def with_fields(text: str, fields: Mapping[str, Any]) -> str:
    """The line `text` with these fields: existing ones are replaced, new ones are added at the end."""
    return _put(text, {name: _json(value) for name, value in fields.items()})


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write the whole file or none of it: a run that is cut off leaves no partial file under the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.writelines(f"{line}\n".encode() for line in lines)


def _put(text: str, fields: Mapping[str, str]) -> str:
    """`with_fields` for values that are already JSON."""
    added = dict(fields)
    replaced = [(start, end, added.pop(name)) for name, start, end in _values(text) if name in added]
    for start, end, value in reversed(replaced):
        text = text[:start] + value + text[end:]
    if not added:
        return text
    close = text.rindex("}")
    before = text[:close].rstrip()
    is_spaced = not text.startswith('{"') or '": ' in text or len(before) == 1
    comma, colon = (", ", ": ") if is_spaced else (",", ":")
    members = comma.join(f"{_json(name)}{colon}{value}" for name, value in added.items())
    return f"{before}{comma if len(before) > 1 else ''}{members}{text[len(before) : close]}{text[close:]}"


def _values(text: str) -> Iterator[tuple[str, int, int]]:
    """The members of the object `text`: the name, and where its value starts and ends. Of a repeated name, the last
    one, as JSON readers do."""
    found: dict[str, tuple[int, int]] = {}
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = scanstring(text, at + 1, True)
        start = _skip(text, _skip(text, at) + 1)
        _, at = _decode(text, start)
        found[name] = (start, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
    return ((name, start, end) for name, (start, end) in sorted(found.items(), key=lambda each: each[1]))


def _skip(text: str, at: int) -> int:
    while text[at] in _BLANK:
        at += 1
    return at


def _json(value: Any) -> str:
    try:
        written = json.dumps(value, ensure_ascii=False)
        written.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot encode
        return json.dumps(value)
    return written
