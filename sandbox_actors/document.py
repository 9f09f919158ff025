"""One YAML or JSON file, read into values that JSON can hold, and the line that each of them came from.

Files come written for PyYAML (YAML 1.1) and for newer readers (1.2), which disagree about plain words and numbers.
Read here is what Data-Juicer Sandbox read, where people rely on it, and 1.2 elsewhere:
- `yes`, `no`, `on`, `off` are booleans, as in 1.1, and a warning says so, since 1.2 takes them for text;
- `3e-4` and `1_000` are numbers, `0o17` is octal, `017` is 17, `1:30` and `2024-05-01` are text;
- `<<` merges. No other tag than those of JSON's types is taken.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from typing import Any, ClassVar

import yaml

from sandbox_actors.errors import Problem

Path = tuple[str | int, ...]

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""Counted as often as aliases repeat them, because that is how often a frozen experiment spells them out."""

_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_TAG = "tag:yaml.org,2002:"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PLAIN = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "|".join(spelt for word in _WORDS for spelt in (word, word.title(), word.upper())), list("tTfFyYnNoO")),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", "<<", ["<"]),
)

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # whichever of the two PyYAML was built with
    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


for _name, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})\\Z"), _first)


class Document:
    """What one file says. `value` is None when the file could not be read, and `errors` then says why."""

    def __init__(self, file: str, value: Any = None, text: bytes = b"", root: yaml.Node | None = None) -> None:
        self.file = file
        self.value = value
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._text = text
        self._root = root

    def line(self, path: Path) -> int | None:
        """Line (from 1) of the key or element at `path`, or of the innermost thing around it that the file has."""
        if self._root is None:
            self._root = _compose_leniently(self._text)
        node, line = self._root, None
        for part in path:
            step = _child(node, part)
            if step is None:
                break
            line, node = step
        return line


def read_document(file: str) -> Document:
    """Reads a file by its suffix: `.json` as JSON, everything else as YAML. Raises nothing: see `Document.errors`."""
    document = Document(file)
    try:
        mode = os.stat(file).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("is a folder, not a file" if stat.S_ISDIR(mode) else "is no regular file")
        with open(file, "rb") as stream:
            text = stream.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"is longer than {MAX_BYTES // 2**20} MiB")
    except FileNotFoundError:
        document.errors.append(Problem(file, "", "no such file"))
    except OSError as error:
        document.errors.append(Problem(file, "", f"cannot be read: {error.strerror}"))
    except ValueError as error:
        document.errors.append(Problem(file, "", str(error)))
    else:
        _parse(document, text)
    return document


def parse_value(text: str) -> Any:
    """One value as a YAML file would spell it, for settings given on a command line. Raises ValueError."""
    document = Document("")
    _parse(document, text.encode())
    if document.errors:
        raise ValueError(document.errors[0].message)
    return document.value


def _parse(document: Document, text: bytes) -> None:
    document._text = text
    try:
        if document.file.endswith(".json"):
            document.value = _Json(document).parse(text)
        else:
            document._root = _compose(text)
            document.value = _Yaml(document).value(document._root, ())
    except json.JSONDecodeError as error:
        document.errors.append(Problem(document.file, "", f"not JSON: {error.msg} (line {error.lineno})"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        document.errors.append(Problem(document.file, "", f"not YAML: {reason}{_at(mark.line + 1 if mark else None)}"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        document.errors.append(Problem(document.file, "", f"not text that can be read: {error}"))
    except RecursionError:
        document.errors.append(Problem(document.file, "", _TOO_DEEP))
    except _TooMuch as error:
        document.errors.append(Problem(document.file, "", str(error)))


def _at(line: int | None) -> str:
    return "" if line is None else f" (line {line})"


def dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


class _TooMuch(Exception):
    pass


class _Reader:
    """What the two formats have in common: every complaint is collected, and reading goes on."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def _complain(self, path: Path, message: str, line: int | None = None) -> None:
        self._document.errors.append(Problem(self._document.file, dotted(path), message + _at(line)))

    def _number(self, number: int | float, path: Path, line: int | None) -> int | float:
        if isinstance(number, float) and not math.isfinite(number):
            self._complain(path, f"{number} is no number that an experiment can hold; leave the key out", line)
        elif isinstance(number, int) and not -(2**63) <= number < 2**63:
            self._complain(path, "a whole number of more than 64 bits; quote it to make it text", line)
        return number


class _Json(_Reader):
    def parse(self, text: bytes) -> Any:
        value = json.loads(text.decode("utf-8-sig"), object_pairs_hook=self._mapping)
        self._check_numbers(value, ())
        return value

    def _mapping(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            names = [name for name, _ in pairs]
            for name in mapping:
                if names.count(name) > 1:
                    self._complain((name,), "the key occurs twice in one object")
        return mapping

    def _check_numbers(self, value: Any, path: Path) -> None:
        if len(path) > MAX_DEPTH:
            raise _TooMuch(_TOO_DEEP)
        if isinstance(value, dict):
            for key, each in value.items():
                self._check_numbers(each, (*path, key))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                self._check_numbers(each, (*path, index))
        elif isinstance(value, (int, float)):
            self._number(value, path, None)


class _Yaml(_Reader):
    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node | None, path: Path) -> Any:
        if node is None:
            return None
        self._count += 1
        if self._count > MAX_VALUES:
            raise _TooMuch(f"holds more than {MAX_VALUES} values, aliases written out")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            raise _TooMuch(f"{dotted(path)} contains itself{_at(node.start_mark.line + 1)}")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self.value(each, (*path, index)) for index, each in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return self._mapping(node, path)
        finally:
            self._open.discard(id(node))
        return self._foreign(node, path)

    def _foreign(self, node: yaml.Node, path: Path) -> None:
        self._complain(path, f"the tag {node.tag!r} means nothing here", node.start_mark.line + 1)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                self._merge(merged, value_node, path)
                continue
            key = self._key(key_node, path, line)
            if key in mapping:
                self._complain((*path, key), "the key occurs twice in one mapping", line)
            mapping[key] = self.value(value_node, (*path, key))
        return {**merged, **mapping} if merged else mapping

    def _merge(self, merged: dict[str, Any], node: yaml.Node, path: Path) -> None:
        sources = self.value(node, path)
        for source in sources if isinstance(sources, list) else [sources]:
            if isinstance(source, dict):
                merged.update((key, value) for key, value in source.items() if key not in merged)
            else:
                self._complain(path, "`<<` takes a mapping or a list of them", node.start_mark.line + 1)

    def _key(self, node: yaml.Node, path: Path, line: int) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._complain(path, "a key has to be text", line)
            return ""
        if node.tag not in (_TAG + "str", _TAG + "null") and not node.style:
            kind = node.tag.removeprefix(_TAG)
            warning = f"the key {node.value} is taken as text, not as {kind}; quote it to say so{_at(line)}"
            self._document.warnings.append(Problem(self._document.file, dotted((*path, node.value)), warning))
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        kind, text, line = node.tag.removeprefix(_TAG), node.value, node.start_mark.line + 1
        if kind in ("str", "merge"):
            return text
        if kind == "null":
            return None
        try:
            if kind == "bool":
                return self._boolean(text, path, line)
            if kind == "int":
                return self._number(_whole(text), path, line)
            if kind == "float":
                return self._number(float(re.sub(r"_|\.(?=[iInN])", "", text)), path, line)
        except (ValueError, KeyError):
            self._complain(path, f"{text!r} is no {kind}", line)
            return None
        return self._foreign(node, path)

    def _boolean(self, text: str, path: Path, line: int) -> bool:
        word = text.lower()
        if word not in ("true", "false"):
            warning = f"{text} is read as {str(_WORDS[word]).lower()}; quote it if you mean the word{_at(line)}"
            self._document.warnings.append(Problem(self._document.file, dotted(path), warning))
        return _WORDS[word]


def _whole(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits, 0) if digits[:2].lower() in ("0o", "0x", "0b") else int(digits)


def _compose(text: bytes) -> yaml.Node | None:
    """The composer of libyaml recurses in C and crashes on what is nested deeply, so the depth is looked at first."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _TooMuch(_TOO_DEEP + _at(event.start_mark.line + 1 if event.start_mark else None))
    return yaml.compose(text, Loader=_Loader)


def _compose_leniently(text: bytes) -> yaml.Node | None:
    """Where things are in a file that was not read as YAML: JSON is YAML, tabs in its indentation aside."""
    try:
        return _compose(text) or yaml.ScalarNode("", "")
    except (yaml.YAMLError, UnicodeDecodeError, _TooMuch):
        return yaml.ScalarNode("", "")


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and -1 < part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None
