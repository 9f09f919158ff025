"""`iter_targets`: what an iteration has to reach, `<pipeline>.<meta_name>.<output> <op> <number>`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import msgspec

from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.context_infos import ContextInfos

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_TARGET = re.compile(r"\s*(?P<name>\S+?)\s*(?P<op>==|>=|<=|>|<)\s*(?P<number>\S+)\s*")


class Target(msgspec.Struct, frozen=True):
    name: str
    op: str
    number: float


class TargetResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one target stands after an iteration. `problem` says why it could not be compared, and so does not hold."""

    target: str
    value: Any
    holds: bool
    problem: str = ""


def parse_target(text: str) -> Target:
    """Raises ValueError, which says what is wrong with the text."""
    match = _TARGET.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no target; write <pipeline>.<meta_name>.<output> <op> <number>, op one of "
                         f"{' '.join(_OPERATORS)}")  # fmt: skip
    try:
        number = float(match["number"])
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"{match['number']!r} is no number that {match['name']} could be compared with")
    return Target(match["name"], match["op"], number)


def evaluate_target(text: str, context_infos: ContextInfos) -> TargetResult:
    """Compares what an iteration gave; never raises for a target that `parse_target` takes."""
    target = parse_target(text)
    try:
        value = context_infos.look_up(target.name)
    except ContextError as error:
        return TargetResult(target=text, value=None, holds=False, problem=str(error))
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        holds = _OPERATORS[target.op](float(value), target.number)
    except ValueError:
        return TargetResult(target=text, value=value, holds=False, problem=f"{value!r:.80} is no number")
    return TargetResult(target=text, value=value, holds=holds)
