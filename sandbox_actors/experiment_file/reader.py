"""What reading YAML and JSON have in common: every complaint is collected, and reading goes on."""

from __future__ import annotations

import math

from sandbox_actors.errors import Problem

Path = tuple[str | int, ...]
"""Keys and indices that lead to a value in a document."""

MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""Counted as often as aliases repeat them, because that is how often a frozen experiment spells them out."""

TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


class Unreadable(Exception):
    """There is no going on with a file: it is no file, or too large, or too deep."""


class Reader:
    """Makes values of one file, and notes what is wrong with them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def complain(self, path: Path, message: str, line: int | None = None) -> None:
        self.errors.append(Problem(self.file, dotted(path), message + at_line(line)))

    def warn(self, path: Path, message: str, line: int | None = None) -> None:
        self.warnings.append(Problem(self.file, dotted(path), message + at_line(line)))

    def number(self, number: int | float, path: Path, line: int | None = None) -> int | float:
        """`number`, with a complaint if JSON or msgpack cannot hold it."""
        if isinstance(number, float) and not math.isfinite(number):
            self.complain(path, f"{number} is no number that an experiment can hold; leave the key out", line)
        elif isinstance(number, int) and not -(2**63) <= number < 2**63:
            self.complain(path, "a whole number of more than 64 bits; quote it to make it text", line)
        return number


def at_line(line: int | None) -> str:
    return "" if line is None else f" (line {line})"


def dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)
