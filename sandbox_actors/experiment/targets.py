"""`iter_targets`: what an iteration has to reach, `<pipeline>.<meta_name>.<output> <op> <number>`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

import msgspec

from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.context_infos import ContextInfos

Operator: TypeAlias = Literal["==", ">=", "<=", ">", "<"]

_COMPARE: dict[Operator, Callable[[float, float], bool]] = {
    "==": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_OPERATOR = re.compile("|".join(_COMPARE))
"""The operators of two characters come first, so that `>=` is not read as `>`."""


class Target(msgspec.Struct, frozen=True):
    name: str
    op: Operator
    number: float


class TargetResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One target after an iteration. `problem`: why it could not be compared; then it does not hold."""

    target: str
    value: Any
    holds: bool
    problem: str = ""


def parse_target(text: str) -> Target:
    """Raises ValueError, which says what is wrong with the text."""
    written = text.strip()
    match = _OPERATOR.search(written, 1)
    name, number = (written[: match.start()].rstrip(), written[match.end() :].lstrip()) if match else ("", "")
    if match is None or len(name.split()) != 1 or len(number.split()) != 1:
        form = "<pipeline>.<meta_name>.<output> <op> <number>"
        raise ValueError(f"{text!r} is not a target; write {form}, where <op> is one of {' '.join(_COMPARE)}")
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if math.isnan(limit):
        raise ValueError(f"{name} must be compared with a number, not with {number!r}")
    return Target(name, cast(Operator, match.group()), limit)


def evaluate_target(text: str, context_infos: ContextInfos) -> TargetResult:
    """Compares an output of an iteration; never raises for a target that `parse_target` accepts."""
    target = parse_target(text)
    try:
        value = context_infos.look_up(target.name)
    except ContextError as error:
        return TargetResult(target=text, value=None, holds=False, problem=str(error))
    try:
        # Text too: some components return the numbers that they have parsed from a log. To Python, a bool is an int.
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        holds = _COMPARE[target.op](float(value), target.number)
    except ValueError:
        return TargetResult(target=text, value=value, holds=False, problem=f"{value!r:.80} is not a number")
    return TargetResult(target=text, value=value, holds=holds)
