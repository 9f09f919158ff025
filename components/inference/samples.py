"""Samples as the lines they came as: what is not meant to change leaves bit for bit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any, NamedTuple

from sandbox_actors.errors import ComponentFailed

_decode = json.JSONDecoder().raw_decode
_BLANK = " \t\r\n"


class Sample(NamedTuple):
    """`text` is the line without its end, `item` what it says, `number` that of the line, from 1."""

    number: int
    text: str
    item: dict[str, Any]


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples of a jsonl file one by one; blank lines are passed over.

    Raises ComponentFailed naming file and line for what is not a sample.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _sample(line, number, path)
    except OSError as error:
        raise ComponentFailed(f"cannot read the dataset {path}: {error}") from error


def with_fields(text: str, fields: Mapping[str, Any]) -> str:
    """The line `text` with these fields: replaced where it has them, else added behind the others."""
    added = dict(fields)
    replaced = [(start, end, _json(added.pop(name))) for name, start, end in _values(text) if name in added]
    for start, end, value in reversed(replaced):
        text = text[:start] + value + text[end:]
    if not added:
        return text
    close = text.rindex("}")
    before = text[:close].rstrip()
    is_spaced = not text.startswith('{"') or '": ' in text or len(before) == 1
    comma, colon = (", ", ": ") if is_spaced else (",", ":")
    members = comma.join(f"{_json(name)}{colon}{_json(value)}" for name, value in added.items())
    return f"{before}{comma if len(before) > 1 else ''}{members}{text[len(before) : close]}{text[close:]}"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """All of them or nothing: a run that is cut off leaves no half file under the name."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _sample(line: bytes, number: int, path: Path) -> Sample:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip(_BLANK)
        item = json.loads(text)
    except ValueError as error:
        raise ComponentFailed(f"{path}, line {number}: not JSON in UTF-8: {error}") from error
    if not isinstance(item, dict):
        raise ComponentFailed(f"{path}, line {number}: a sample is an object, not {text[:40]}")
    return Sample(number, text, item)


def _values(text: str) -> Iterator[tuple[str, int, int]]:
    """The members of the object that `text` is: name, and where the value starts and ends. Of a name that occurs
    several times, as for a reader, the last."""
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
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot write
        return json.dumps(value)
    return written
