"""Lists Data-Juicer's operators, their parameters, and the statistics that these bound.

Runs in an env with Data-Juicer (`python -m components.data.operators [FOLDER]`) and writes three files. They are
kept beside this one, so that recipes can be checked and refined without Data-Juicer:

operators.json        {operator: [parameter, ...]}
operator_bounds.json  {operator: {parameter: {"side": "min"|"max", "type": "int"|"float"|..., "stats": [name, ...]}}}
settings.json         [top-level key of a recipe, ...]

The bounds are taken from the source: filters keep a sample by
`self.get_keep_boolean(<statistic>, self.<lower bound>, self.<upper bound>)`. If a parameter of the operator
contains the name of the statistic, it is written as `<parameter>`.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Bound = dict[str, Any]

_CHOSEN = re.compile(r"\w+\[Fields\.stats\]\[self\.(\w+)\]")
"""A statistic whose name is a parameter."""


def describe() -> dict[str, Any]:
    """File name to content, for the Data-Juicer that is installed."""
    from components.data.importing import import_data_juicer

    import_data_juicer()
    from data_juicer.config.config import build_base_parser
    from data_juicer.core.preflight import _get_valid_params
    from data_juicer.ops.base_op import OPERATORS

    classes = dict(sorted(OPERATORS.modules.items()))
    parameters = {name: _get_valid_params(cls) for name, cls in classes.items()}
    bounds = {name: _bounds(cls, parameters[name]) for name, cls in classes.items()}
    settings = {action.dest.split(".")[0] for action in build_base_parser()._actions} | {"plots"}
    return {
        "operators.json": {name: sorted(known) for name, known in parameters.items()},
        "operator_bounds.json": {name: found for name, found in bounds.items() if found},
        "settings.json": sorted(settings - {"help", "config"}),
    }


def _bounds(cls: type, parameters: dict[str, Any]) -> dict[str, Bound]:
    trees = [_tree(each) for each in _own_classes(cls)]
    stats = next(filter(None, (set(_stats_in(tree)) for tree in trees)), set[str]())
    calls = next(filter(None, (list(_comparisons(tree)) for tree in trees)), [])
    bounds: dict[str, Bound] = {}
    for value, lower, upper in calls:
        held_against = set(_stats_in(value)) or stats
        for side, parameter in (("min", lower), ("max", upper)):
            if parameter in parameters and held_against:
                kind = getattr(parameters[parameter], "__name__", "")
                named = _related(parameter, held_against)
                bounds[parameter] = {"side": side, "type": kind, "stats": sorted(named)}
    return bounds


def _own_classes(cls: type) -> Iterator[type]:
    return (each for each in cls.__mro__ if each.__module__.startswith("data_juicer.ops.filter."))


def _tree(cls: type) -> ast.AST:
    tree = ast.parse(Path(inspect.getfile(cls)).read_text(encoding="utf-8"))
    return next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == cls.__name__)


def _stats_in(tree: ast.AST) -> Iterator[str]:
    from data_juicer.utils.constant import StatsKeysConstant

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "StatsKeys":
            yield getattr(StatsKeysConstant, node.attr)
        elif isinstance(node, ast.Subscript) and (match := _CHOSEN.fullmatch(ast.unparse(node))):
            yield f"<{match[1]}>"


def _comparisons(tree: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    """The compared expression, and the names of its lower and upper bound; an empty name if there is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get_keep_boolean":
            lower, upper, *_ = [*(getattr(argument, "attr", "") for argument in node.args[1:]), "", ""]
            yield node.args[0], lower, upper


def _related(parameter: str, stats: set[str]) -> set[str]:
    """Of several statistics those that share a word with the parameter: `min_width` is about `image_width`."""
    words = set(parameter.split("_")) - {"min", "max"}
    return {stat for stat in stats if words & set(stat.split("_"))} or stats


def write(folder: Path) -> None:
    for name, content in describe().items():
        if isinstance(content, dict):
            lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
            (folder / name).write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        else:
            (folder / name).write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
