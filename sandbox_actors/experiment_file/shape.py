"""Whether a file has the shape of the Structs in `file_format.py`: every unknown key and wrong type, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec import inspect

from sandbox_actors.errors import did_you_mean
from sandbox_actors.experiment_file.reader import Path
from sandbox_actors.experiment_file.schema import ExperimentPart, JobPart, PipelinePart, ResourcesPart

Finding = tuple[Path, str]
"""Where in a document, and what is wrong there."""

_NOUNS = {
    ExperimentPart: "an experiment",
    PipelinePart: "the job lists of a pipeline",
    JobPart: "a job",
    ResourcesPart: "resources",
}


def find_misfits(value: Any, kind: type) -> Iterator[Finding]:
    """Everything in `value` that does not fit the Struct `kind`."""
    return _misfits(value, _type_info(kind), ())


def without(value: Any, paths: list[Path]) -> Any:
    """`value` without what lies at `paths`; an element of a list becomes None, so that the others keep their places."""
    for path in sorted(paths, key=len, reverse=True):
        value = _dropped(value, path)
    return value


@cache
def _type_info(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def _misfits(value: Any, kind: inspect.Type, path: Path) -> Iterator[Finding]:
    if isinstance(kind, inspect.Metadata):
        yield from _misfits(value, kind.type, path)
    elif isinstance(kind, inspect.UnionType):
        fitting = [each for each in kind.types if _is_of_kind(value, each)]
        if fitting:
            yield from _misfits(value, fitting[0], path)
        else:
            yield path, _complaint(value, kind)
    elif not _is_of_kind(value, kind):
        yield path, _complaint(value, kind)
    elif isinstance(kind, inspect.StructType):
        yield from _struct_misfits(value, kind, path)
    elif isinstance(kind, inspect.DictType):
        for key, each in value.items():
            yield from _misfits(each, kind.value_type, (*path, key))
    elif isinstance(kind, inspect.ListType):
        for index, each in enumerate(value):
            yield from _misfits(each, kind.item_type, (*path, index))
    elif isinstance(kind, (inspect.IntType, inspect.FloatType)):
        yield from _bound_misfits(value, kind, path)
    elif isinstance(kind, inspect.LiteralType) and value not in kind.values:
        yield path, _complaint(value, kind)


def _struct_misfits(value: dict[str, Any], kind: inspect.StructType, path: Path) -> Iterator[Finding]:
    fields = {each.name: each for each in kind.fields}
    for key in value:
        if key in fields:
            yield from _misfits(value[key], fields[key].type, (*path, key))
        else:
            yield (*path, key), f"{_NOUNS[kind.cls]} has no key {key!r}{did_you_mean(key, fields)}"
    for name, field in fields.items():
        if field.required and name not in value:
            yield (*path, name), f"{_NOUNS[kind.cls]} needs the key {name!r}"


def _bound_misfits(value: float, kind: inspect.IntType | inspect.FloatType, path: Path) -> Iterator[Finding]:
    if kind.ge is not None and value < kind.ge:
        yield path, f"must be {kind.ge:g} or more, not {value:g}"
    if kind.gt is not None and value <= kind.gt:
        yield path, f"must be more than {kind.gt:g}, not {value:g}"


def _is_of_kind(value: Any, kind: inspect.Type) -> bool:
    """Whether `value` is meant as a `kind`, right or wrong inside."""
    if isinstance(kind, inspect.Metadata):
        return _is_of_kind(value, kind.type)
    if isinstance(kind, inspect.UnionType):
        return any(_is_of_kind(value, each) for each in kind.types)
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return True
    return isinstance(kind, inspect.AnyType) or (
        isinstance(value, _PYTHON[type(kind)]) and (not isinstance(value, bool) or isinstance(kind, inspect.BoolType))
    )


_PYTHON: dict[type[inspect.Type], type | tuple[type, ...]] = {
    inspect.NoneType: type(None),
    inspect.BoolType: bool,
    inspect.IntType: int,
    inspect.FloatType: (int, float),
    inspect.StrType: str,
    inspect.LiteralType: str,
    inspect.ListType: list,
    inspect.DictType: dict,
    inspect.StructType: dict,
}

_TYPE_NOUNS: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "text",
    inspect.ListType: "a list",
    inspect.DictType: "a mapping",
    inspect.StructType: "a mapping",
}


def _complaint(value: Any, kind: inspect.Type) -> str:
    wanted = _noun(kind)
    hint = "; quote it" if wanted == "text" and isinstance(value, (bool, int, float)) else ""
    return f"must be {wanted}, not {_name(value)}{hint}"


def _noun(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata):
        return _noun(kind.type)
    if isinstance(kind, inspect.UnionType):
        kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        return " or ".join(dict.fromkeys(map(_noun, kinds)))
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(map(repr, kind.values))
    return _TYPE_NOUNS[type(kind)]


def _name(value: Any) -> str:
    if isinstance(value, (bool, int, float)):
        return f"{str(value).lower()}"
    names = {type(None): "empty", str: f"the text {value!r:.60}", list: "a list", dict: "a mapping"}
    return names[type(value)]


def _dropped(value: Any, path: Path) -> Any:
    if not path:
        return None
    first, rest = path[0], path[1:]
    if isinstance(value, dict) and first in value:
        if rest:
            return {**value, first: _dropped(value[first], rest)}
        return {key: each for key, each in value.items() if key != first}
    if isinstance(value, list) and isinstance(first, int) and first < len(value):
        return [_dropped(each, rest) if index == first else each for index, each in enumerate(value)]
    return value
