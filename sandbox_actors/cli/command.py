"""How a command is declared: a function with the arguments that it takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from sandbox_actors.cli.screen import Screen

Run: TypeAlias = Callable[[argparse.Namespace, Screen], int]
Argument: TypeAlias = tuple[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True)
class Command:
    """`run` returns the exit status. Every command also takes `--json` and `-q`: `Screen` knows which was given."""

    run: Run
    arguments: tuple[Argument, ...]


def command(*arguments: Argument) -> Callable[[Run], Command]:
    """Make a command of a function, with the arguments in the order of its help text."""
    return lambda run: Command(run, arguments)


def argument(*names: str, **settings: Any) -> Argument:
    """One argument, as `ArgumentParser.add_argument` takes it."""
    return names, settings


def count(text: str) -> int:
    """The type of an argument that says how many."""
    number = int(text)
    if not 0 < number < 2**31:
        raise ValueError
    return number


EXPERIMENT = argument(
    "experiment",
    metavar="ID",
    nargs="?",
    default="@",
    help="ID or name of an experiment, @ for the newest (default), @~1 for the one before it; "
    "a name means the newest experiment of that name",
)

OVERRIDES = argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="override a key of the file, such as max_iter_num=3 or PIPELINE.META_NAME.dj_configs.KEY=VALUE",
)
