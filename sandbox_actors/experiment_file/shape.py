"""Whether a file has the shape of the Structs in `schema.py`: every unknown key and wrong type, all at once.

msgspec has these rules too, but stops at the first violation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeAlias

from msgspec import inspect

from sandbox_actors.errors import did_you_mean
from sandbox_actors.experiment_file.key_path import KeyPath
from sandbox_actors.experiment_file.schema import ExperimentPart, JobPart, PipelinePart, ResourcesPart

Finding: TypeAlias = tuple[KeyPath, str]
"""Where in a document, and what is wrong there."""

_UNUSABLE = re.compile("[\0\ud800-\udfff]")
"""NUL, and what stands for bytes that are not UTF-8."""

_NOUNS = {
    ExperimentPart: "an experiment",
    PipelinePart: "the job lists of a pipeline",
    JobPart: "a job",
    ResourcesPart: "resources",
}


def find_mismatches(value: Any, kind: type) -> Iterator[Finding]:
    """Everything in `value` that does not have the form of the Struct `kind`."""
    return _mismatches(value, _type_info(kind), ())


@cache
def _type_info(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def _mismatches(value: Any, kind: inspect.Type, path: KeyPath) -> Iterator[Finding]:
    if isinstance(kind, inspect.Metadata):
        yield from _mismatches(value, kind.type, path)
    elif not _is_of_kind(value, kind):
        yield path, _message(value, kind)
    elif isinstance(kind, inspect.UnionType):
        yield from _mismatches(value, next(each for each in kind.types if _is_of_kind(value, each)), path)
    elif isinstance(kind, inspect.StructType):
        yield from _struct_mismatches(value, kind, path)
    elif isinstance(kind, inspect.DictType):
        for key, each in value.items():
            yield from _mismatches(each, kind.value_type, (*path, key))
    elif isinstance(kind, inspect.ListType):
        for index, each in enumerate(value):
            yield from _mismatches(each, kind.item_type, (*path, index))
    elif isinstance(kind, (inspect.IntType, inspect.FloatType)):
        yield from _bound_mismatches(value, kind, path)
    elif isinstance(kind, inspect.StrType):
        yield from _text_mismatches(value, kind, path)
    elif isinstance(kind, inspect.LiteralType) and value not in kind.values:
        yield path, _message(value, kind)


def _struct_mismatches(value: dict[str, Any], kind: inspect.StructType, path: KeyPath) -> Iterator[Finding]:
    fields = {each.name: each for each in kind.fields}
    for key in value:
        if key in fields:
            yield from _mismatches(value[key], fields[key].type, (*path, key))
        else:
            yield (*path, key), f"{_NOUNS[kind.cls]} has no key {key!r}{did_you_mean(key, fields)}"
    for name, field in fields.items():
        if field.required and name not in value:
            yield (*path, name), f"{_NOUNS[kind.cls]} needs the key {name!r}"


def _bound_mismatches(value: float, kind: inspect.IntType | inspect.FloatType, path: KeyPath) -> Iterator[Finding]:
    if kind.ge is not None and value < kind.ge:
        yield path, f"must be {kind.ge:g} or more, not {value:g}"
    if kind.gt is not None and value <= kind.gt:
        yield path, f"must be more than {kind.gt:g}, not {value:g}"


def _text_mismatches(value: str, kind: inspect.StrType, path: KeyPath) -> Iterator[Finding]:
    if kind.max_length is not None and len(value) > kind.max_length:
        yield path, f"may have {kind.max_length:,} characters, and has {len(value):,}"
    elif kind.max_length is not None and _UNUSABLE.search(value):  # neither a file nor a message can hold these
        yield path, f"contains {_UNUSABLE.findall(value)[0]!a}, which is neither text nor part of a path"


def _is_of_kind(value: Any, kind: inspect.Type) -> bool:
    """Whether `value` is a `kind`, whatever is in it."""
    if isinstance(kind, inspect.Metadata):
        return _is_of_kind(value, kind.type)
    if isinstance(kind, inspect.UnionType):
        return any(_is_of_kind(value, each) for each in kind.types)
    if isinstance(kind, inspect.AnyType):
        return True
    if isinstance(value, bool):  # an int in Python, and not a number in a file
        return isinstance(kind, inspect.BoolType)
    return isinstance(value, _TYPES[type(kind)][0])


_TYPES: dict[type[inspect.Type], tuple[type | tuple[type, ...], str]] = {
    inspect.NoneType: (type(None), "empty"),
    inspect.BoolType: (bool, "true or false"),
    inspect.IntType: (int, "a whole number"),
    inspect.FloatType: ((int, float), "a number"),
    inspect.StrType: (str, "text"),
    inspect.LiteralType: (str, "text"),
    inspect.ListType: (list, "a list"),
    inspect.DictType: (dict, "a mapping"),
    inspect.StructType: (dict, "a mapping"),
}
"""The Python types of a value that may be of a type, and how messages call it."""


def _message(value: Any, kind: inspect.Type) -> str:
    wanted = _describe_type(kind)
    hint = "; quote it" if wanted == "text" and isinstance(value, (bool, int, float)) else ""
    return f"must be {wanted}, not {_describe(value)}{hint}"


def _describe_type(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata):
        return _describe_type(kind.type)
    if isinstance(kind, inspect.UnionType):
        kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        return " or ".join(dict.fromkeys(map(_describe_type, kinds)))
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(map(repr, kind.values))
    return _TYPES[type(kind)][1]


def _describe(value: Any) -> str:
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    names = {type(None): "empty", str: f"the text {value!r:.60}", list: "a list", dict: "a mapping"}
    return names[type(value)]
