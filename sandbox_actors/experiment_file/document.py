"""One YAML or JSON file: what it says, what is wrong with it, and the line that each value came from."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

import yaml

from sandbox_actors.errors import Problem
from sandbox_actors.experiment_file.reader import MAX_DEPTH, TOO_DEEP, Path, Reader, Unreadable
from sandbox_actors.experiment_file.yaml_reader import YamlReader, child_of, compose

MAX_BYTES = 16 * 1024 * 1024


class Document:
    """What one file says. `value` is None when the file could not be read, and `errors` then says why."""

    def __init__(self, file: str, value: Any, errors: list[Problem], warnings: list[Problem], text: bytes) -> None:
        self.file = file
        self.value = value
        self.errors = errors
        self.warnings = warnings
        self._text = text
        self._root: yaml.Node | None = None

    def line(self, path: Path) -> int | None:
        """Line (from 1) of the key or element at `path`, or of the innermost thing around it that the file has."""
        if self._root is None:
            self._root = _compose_leniently(self._text)
        node, line = self._root, None
        for part in path:
            step = child_of(node, part)
            if step is None:
                break
            line, node = step
        return line


def read_document(file: str) -> Document:
    """Reads a file by its suffix: `.json` as JSON, everything else as YAML. Raises nothing: see `Document.errors`."""
    try:
        return _parse(file, _read_bytes(file))
    except FileNotFoundError:
        reason = "no such file"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except Unreadable as error:
        reason = str(error)
    return Document(file, None, [Problem(file, "", reason)], [], b"")


def parse_value(text: str) -> Any:
    """One value as a YAML file would spell it, for settings given on a command line. Raises ValueError."""
    document = _parse("", text.encode())
    if document.errors:
        raise ValueError(document.errors[0].message)
    return document.value


def _read_bytes(file: str) -> bytes:
    mode = os.stat(file).st_mode
    if not stat.S_ISREG(mode):
        raise Unreadable("is a folder, not a file" if stat.S_ISDIR(mode) else "is no regular file")
    with open(file, "rb") as stream:
        text = stream.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise Unreadable(f"is longer than {MAX_BYTES // 2**20} MiB")
    return text


def _parse(file: str, text: bytes) -> Document:
    reader: JsonReader | YamlReader = JsonReader(file) if file.endswith(".json") else YamlReader(file)
    value = None
    try:
        value = reader.parse(text)
    except json.JSONDecodeError as error:
        reader.complain((), f"not JSON: {error.msg}", error.lineno)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        reader.complain((), f"not YAML: {reason}", mark.line + 1 if mark else None)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reader.complain((), f"not text that can be read: {error}")
    except RecursionError:
        reader.complain((), TOO_DEEP)
    except Unreadable as error:
        reader.complain((), str(error))
    return Document(file, value, reader.errors, reader.warnings, text)


class JsonReader(Reader):
    def parse(self, text: bytes) -> Any:
        """Raises json.JSONDecodeError, UnicodeDecodeError, RecursionError and Unreadable."""
        value = json.loads(text.decode("utf-8-sig"), object_pairs_hook=self._mapping)
        self._check(value, ())
        return value

    def _mapping(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        names = [name for name, _ in pairs]
        for name in mapping if len(mapping) < len(pairs) else ():
            if names.count(name) > 1:
                self.complain((name,), "the key occurs twice in one object")
        return mapping

    def _check(self, value: Any, path: Path) -> None:
        if len(path) > MAX_DEPTH:
            raise Unreadable(TOO_DEEP)
        if isinstance(value, dict):
            for key, each in value.items():
                self._check(each, (*path, key))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                self._check(each, (*path, index))
        elif isinstance(value, (int, float)):
            self.number(value, path)


def _compose_leniently(text: bytes) -> yaml.Node:
    """Where things are in a file, also in one that is not read as YAML: JSON is YAML, but for tabs that indent it."""
    try:
        return compose(text) or yaml.ScalarNode("", "")
    except (yaml.YAMLError, UnicodeDecodeError, Unreadable):
        return yaml.ScalarNode("", "")
