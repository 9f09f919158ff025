"""One YAML or JSON file: its content, what is wrong with it, and the line that each value came from."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

import yaml

from sandbox_actors.errors import Problem
from sandbox_actors.experiment_file.json_reader import JsonReader
from sandbox_actors.experiment_file.key_path import KeyPath
from sandbox_actors.experiment_file.reader import TOO_DEEP, Unreadable
from sandbox_actors.experiment_file.yaml_reader import YamlReader, compose, find_child

MAX_BYTES = 16 * 1024 * 1024


class Document:
    """The content of one file. `value` is None if the file could not be read; then `errors` says why."""

    def __init__(self, file: str, value: Any, errors: list[Problem], warnings: list[Problem], text: bytes) -> None:
        self.file = file
        self.value = value
        self.errors = errors
        self.warnings = warnings
        self._text = text
        self._root: yaml.Node | None = None

    def line(self, path: KeyPath) -> int | None:
        """Line (from 1) of the key or element at `path`, or of the innermost value around it that the file has."""
        if self._root is None:  # composed late: most files have no errors, and nothing else needs lines
            self._root = _compose_leniently(self._text)
        node, line = self._root, None
        for part in path:
            step = find_child(node, part)
            if step is None:
                break
            line, node = step
        return line


def read_document(file: str) -> Document:
    """Reads a file as JSON if it is called `.json`, else as YAML. Never raises: `Document.errors` has what is wrong."""
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
    """One value, written as in a YAML file, for settings on a command line. Raises ValueError."""
    document = _parse("", text.encode())
    if document.errors:
        raise ValueError(document.errors[0].message)
    return document.value


def _read_bytes(file: str) -> bytes:
    mode = os.stat(file).st_mode
    if not stat.S_ISREG(mode):
        raise Unreadable("is a folder, not a file" if stat.S_ISDIR(mode) else "is not a regular file")
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
        reader.error((), f"not JSON: {error.msg}", error.lineno)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        reader.error((), f"not YAML: {reason}", mark.line + 1 if mark else None)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reader.error((), f"cannot be read as text: {error}")
    except RecursionError:
        reader.error((), TOO_DEEP)
    except Unreadable as error:
        reader.error((), str(error))
    return Document(file, value, reader.errors, reader.warnings, text)


def _compose_leniently(text: bytes) -> yaml.Node:
    """The nodes of a file, with their lines. Also works for JSON, which is YAML unless tabs indent it."""
    try:
        return compose(text) or yaml.ScalarNode("", "")
    except (yaml.YAMLError, UnicodeDecodeError, Unreadable):
        return yaml.ScalarNode("", "")
