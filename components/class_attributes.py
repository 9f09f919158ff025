"""What a user's component class declares, read from its source: the daemon never runs users' code.

A large source is read by a process of its own, `python -m components.class_attributes FILE CLASS`, which prints JSON:
parsing takes a second a megabyte, in which no other thread of the process runs.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FLAGS = ("is_light", "needs_gpu")
TEXTS = ("env",)
NAMES = ("keys", "lists", "model_fields", "reads", "required", "secrets")
SETTINGS = "settings_type"

LARGE = 64 * 1024
"""Bytes of a source that takes longer to read than a process to start."""

DEADLINE = 60.0
"""Seconds in which a large source has to be read."""


def declared(target: str, folders: Sequence[str]) -> dict[str, Any]:
    """What the class `target` (`module:Class`) declares. Empty if it is not found below `folders`.

    These are the attributes of `components.base.Component` that are literals in its body, and `lists`, of a hook: the
    job lists it is made for. `settings_type` names a Struct of the same module: its fields are the keys, and those
    without a default are required. What it inherits from classes of the same module counts too.
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
    """`mtime` and `size` are part of the cache's key, so that a changed file is read again."""
    found = _read_apart(file, name) if size > LARGE else _read(file, name)
    return tuple((key, tuple(value) if key in NAMES else value) for key, value in found.items())


def _read_apart(file: str, name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "components.class_attributes", file, name]
    folder = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(command, capture_output=True, cwd=folder, timeout=DEADLINE, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(json.loads(done.stdout))


def _read(file: str, name: str) -> dict[str, Any]:
    import ast

    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return {}  # the worker reports what is wrong when it imports the module
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, Any] = {}
    for each in _with_bases(name, classes):
        for key, value in _literals(each):
            if key not in found and _fits(key, value):
                found[key] = value
        if SETTINGS not in found and (struct := _assigned_name(each, SETTINGS)):
            found[SETTINGS] = struct
    if (struct := found.pop(SETTINGS, "")) in classes:
        bases = reversed(list(_with_bases(struct, classes)))  # so that a field that is repeated has its own default
        fields = {name: has_default for kind in bases for name, has_default in _fields(kind)}
        required = [name for name, has_default in fields.items() if not has_default]
        found |= {"keys": list(fields), "required": list(dict.fromkeys([*required, *found.get("required", ())]))}
    return found


def _with_bases(name: str, classes: dict[str, Any]) -> Iterator[Any]:
    """The class, then those of its base classes that are in the same module."""
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
                except (ValueError, TypeError, RecursionError, MemoryError):
                    continue


def _assigned_name(node: Any, key: str) -> str:
    """The name that is assigned to `key` in the body of a class."""
    import ast

    for statement in node.body:
        names = [target.id for target in getattr(statement, "targets", ()) if isinstance(target, ast.Name)]
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name) and key in names:
            return statement.value.id
    return ""


def _fields(node: Any) -> Iterator[tuple[str, bool]]:
    """The annotated names of a class, and whether they have a default."""
    import ast

    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.value is not None


def _fits(key: str, value: Any) -> bool:
    if key in NAMES:
        return isinstance(value, (tuple, list)) and all(isinstance(each, str) for each in value)
    return isinstance(value, str) if key in TEXTS else key in FLAGS and isinstance(value, bool)


if __name__ == "__main__":
    print(json.dumps(_read(*sys.argv[1:])))
