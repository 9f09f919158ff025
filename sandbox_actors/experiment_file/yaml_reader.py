"""YAML, read into values that JSON can represent.

Files are written for PyYAML (YAML 1.1) or for newer readers (1.2), which disagree about plain words and numbers. This
reader follows Data-Juicer Sandbox where people rely on it, and 1.2 elsewhere:
- `yes`, `no`, `on`, `off` are booleans, as in 1.1, with a warning, because 1.2 reads them as text;
- `3e-4` and `1_000` are numbers, `0o17` is octal, `017` is 17, `1:30` and `2024-05-01` are text;
- `<<` merges. A tag other than those of JSON's types is an error.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from sandbox_actors.experiment_file.key_path import KeyPath, join_path
from sandbox_actors.experiment_file.reader import (
    MAX_DEPTH,
    MAX_VALUES,
    TOO_DEEP,
    Reader,
    Unreadable,
    at_line,
)

_TAG = "tag:yaml.org,2002:"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PLAIN = (  # type, pattern, first characters: PyYAML tries only the patterns that are listed for the first character
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (
        "bool",
        "|".join(spelling for word in _WORDS for spelling in (word, word.title(), word.upper())),
        list("tTfFyYnNoO"),
    ),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", "<<", ["<"]),
)

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # the faster one is missing if PyYAML was built without libyaml
    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


for _name, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})\\Z"), _first)


def compose(text: bytes) -> yaml.Node | None:
    """The nodes of a file. libyaml composes recursively in C and would crash on deep nesting: hence the check first."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise Unreadable(TOO_DEEP + at_line(event.start_mark.line + 1 if event.start_mark else None))
    except yaml.scanner.ScannerError as error:
        if _open_brackets(text, error.problem_mark or error.context_mark) > MAX_DEPTH:
            raise Unreadable(TOO_DEEP) from error
        raise
    return yaml.compose(text, Loader=_Loader)


def _open_brackets(text: bytes, mark: yaml.Mark | None) -> int:
    """How many brackets are open where the library gave up. Some versions of it have a limit of their own, at which its
    scanner fails before it has given the events that would be counted."""
    before = text[: mark.index] if mark else text
    return before.count(b"[") + before.count(b"{") - before.count(b"]") - before.count(b"}")


def find_child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    """The line (from 1) of what is at a key or index of `node`, and its node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and -1 < part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


class YamlReader(Reader):
    def __init__(self, file: str) -> None:
        super().__init__(file)
        self._count = 0
        self._open: set[int] = set()

    def parse(self, text: bytes) -> Any:
        """Raises yaml.YAMLError, UnicodeDecodeError and Unreadable."""
        return self._value(compose(text), ())

    def _value(self, node: yaml.Node | None, path: KeyPath) -> Any:
        if node is None:
            return None
        self._count += 1
        if self._count > MAX_VALUES:
            raise Unreadable(f"holds more than {MAX_VALUES} values, counting what aliases repeat")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            raise Unreadable(f"{join_path(path)} contains itself{at_line(node.start_mark.line + 1)}")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self._value(each, (*path, index)) for index, each in enumerate(node.value)]
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return self._mapping(node, path)
        finally:
            self._open.discard(id(node))
        return self._report_tag(node, path)

    def _report_tag(self, node: yaml.Node, path: KeyPath) -> None:
        self.error(path, f"the tag {node.tag!r} is not supported", node.start_mark.line + 1)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                self._merge(merged, value_node, path)
                continue
            key = self._key(key_node, path, line)
            if key in mapping:
                self.error((*path, key), "the key occurs twice in one mapping", line)
            mapping[key] = self._value(value_node, (*path, key))
        return {**merged, **mapping} if merged else mapping

    def _merge(self, merged: dict[str, Any], node: yaml.Node, path: KeyPath) -> None:
        sources = self._value(node, path)
        for source in sources if isinstance(sources, list) else [sources]:
            if isinstance(source, dict):
                merged.update((key, value) for key, value in source.items() if key not in merged)
            else:
                self.error(path, "`<<` needs a mapping or a list of mappings", node.start_mark.line + 1)

    def _key(self, node: yaml.Node, path: KeyPath, line: int) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.error(path, "a key must be text", line)
            return ""
        if node.tag not in (_TAG + "str", _TAG + "null") and not node.style:
            kind = node.tag.removeprefix(_TAG)
            self.warn(
                (*path, node.value), f"the key is read as text, not as {kind}; quote it to avoid this warning", line
            )
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        kind, text, line = node.tag.removeprefix(_TAG), node.value, node.start_mark.line + 1
        if kind in ("str", "merge"):
            return text
        if kind == "null":
            return None
        try:
            if kind == "bool":
                return self._boolean(text, path, line)
            if kind == "int":
                return self.check_number(_parse_int(text), path, line)
            if kind == "float":
                return self.check_number(float(re.sub(r"_|\.(?=[iInN])", "", text)), path, line)
        except (ValueError, KeyError):
            self.error(path, f"{text!r} is not a valid {kind}", line)
            return None
        return self._report_tag(node, path)

    def _boolean(self, text: str, path: KeyPath, line: int) -> bool:
        word = text.lower()
        if word not in ("true", "false"):
            self.warn(path, f"{text} is read as {str(_WORDS[word]).lower()}; quote it if you mean the word", line)
        return _WORDS[word]


def _parse_int(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits, 0) if digits[:2].lower() in ("0o", "0x", "0b") else int(digits)
