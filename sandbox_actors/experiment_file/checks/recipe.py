"""Checks of Data-Juicer recipes: the operators, their parameters, and the other settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox_actors.errors import ConfigError, did_you_mean
from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.experiment_file.checks.config_view import ConfigView
from sandbox_actors.experiment_file.draft import Draft


def check_recipe(draft: Draft, catalogue: Catalogue, view: ConfigView) -> None:
    if view.value is None:
        return
    _check_settings(draft, catalogue, view)
    process = view.value.get("process")
    if process is None or not catalogue.operators:
        return
    if not isinstance(process, list):
        draft.error(view.path(["process"]), "must be a list of operators")
        return
    # Operators of the user's own are not in the catalogue, and may replace those that are.
    report = draft.warn if view.value.get("custom_operator_paths") else draft.error
    for index, entry in enumerate(process):
        if not view.is_replaced(["process", str(index)]):
            for keys, message in _find_operator_problems(entry, catalogue):
                report(view.path(["process", index, *keys]), message)


def _check_settings(draft: Draft, catalogue: Catalogue, view: ConfigView) -> None:
    if catalogue.recipe is None or not view.value:
        return
    try:
        catalogue.recipe(view.value)
    except ConfigError as error:
        for problem in error.problems:
            keys = problem.path.split(".")
            if not view.is_replaced(keys[:1]):
                draft.error(view.path(keys), problem.message)


def _find_operator_problems(entry: Any, catalogue: Catalogue) -> Iterator[tuple[list[str], str]]:
    """Keys in the entry, and what is wrong there."""
    if isinstance(entry, str):
        entry = {entry: None}
    if not isinstance(entry, dict) or len(entry) != 1:
        yield [], "must be the name of an operator, with its parameters below it"
        return
    ((name, parameters),) = entry.items()
    known = catalogue.operators.get(name)
    if known is None:
        yield [name], f"Data-Juicer has no operator {name!r}{did_you_mean(name, catalogue.operators)}"
    elif parameters is not None and not isinstance(parameters, dict):
        yield [name], "must be a mapping of the operator's parameters"
    else:
        for parameter in parameters or ():
            if parameter not in known:
                yield [name, parameter], f"{name} has no parameter {parameter!r}{did_you_mean(parameter, known)}"
