"""What a component class of the user's says of itself, read from its source: the daemon runs no code but its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FLAGS = ("is_light",)
TEXTS = ("env",)
NAMES = ("keys", "lists", "model_fields", "reads", "required")


def declared(target: str, folders: Sequence[str]) -> dict[str, Any]:
    """The attributes of the class `target` (`module:Class`) that are written in its body as literals: `env`, text;
    `is_light`, true or false; `model_fields`, `required`, `reads`, `keys` and `lists`, tuples of text. What it inherits
    from classes of the same module counts too. Nothing, for a class that is not found below `folders`.
    """
    module, _, name = target.partition(":")
    stem = Path(*module.split("."))
    for folder in folders:
        for file in (Path(folder) / stem.with_suffix(".py"), Path(folder) / stem / "__init__.py"):
            try:
                status = file.stat()
            except OSError:
                continue
            return dict(_declared_in(str(file), name, status.st_mtime_ns, status.st_size))
    return {}


@functools.lru_cache(maxsize=256)
def _declared_in(file: str, name: str, mtime: int, size: int) -> tuple[tuple[str, Any], ...]:
    """`mtime` and `size` tell one state of the file from another."""
    import ast

    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ()  # the worker, which imports it, says what is wrong
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, Any] = {}
    for each in _with_bases(name, classes):
        for key, value in _literals(each):
            if key not in found and _fits(key, value):
                found[key] = tuple(value) if key in NAMES else value
    return tuple(found.items())


def _with_bases(name: str, classes: dict[str, Any]) -> Iterator[Any]:
    """The class, then those that it is derived from, as far as they stand in the same module."""
    seen, left = set[str](), [name]
    while left:
        each = left.pop(0)
        if each in classes and each not in seen:
            seen.add(each)
            yield classes[each]
            left += [base.id for base in classes[each].bases if hasattr(base, "id")]


def _literals(node: Any) -> Iterator[tuple[str, Any]]:
    import ast

    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(value, ast.expr):
                try:
                    yield target.id, ast.literal_eval(value)
                except ValueError:
                    continue


def _fits(key: str, value: Any) -> bool:
    if key in NAMES:
        return isinstance(value, (tuple, list)) and all(isinstance(each, str) for each in value)
    return isinstance(value, str) if key in TEXTS else key in FLAGS and isinstance(value, bool)
