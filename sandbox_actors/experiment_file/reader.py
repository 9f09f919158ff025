"""What reading YAML and reading JSON have in common: every error is collected, and reading continues."""

from __future__ import annotations

import math

from sandbox_actors.errors import Problem
from sandbox_actors.experiment_file.key_path import KeyPath, join_path

MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""A value is counted each time that an alias repeats it, because a frozen experiment contains it as often."""

TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


class Unreadable(Exception):
    """Reading cannot continue: this is not a file, or it is too large or nested too deeply."""


class Reader:
    """Reads the values of one file, and collects what is wrong with them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def error(self, path: KeyPath, message: str, line: int | None = None) -> None:
        self.errors.append(Problem(self.file, join_path(path), message + at_line(line)))

    def warn(self, path: KeyPath, message: str, line: int | None = None) -> None:
        self.warnings.append(Problem(self.file, join_path(path), message + at_line(line)))

    def check_number(self, number: int | float, path: KeyPath, line: int | None = None) -> int | float:
        """`number`, with an error if JSON or msgpack cannot represent it."""
        if isinstance(number, float) and not math.isfinite(number):
            self.error(path, f"{number} cannot be used in an experiment; leave the key out", line)
        elif isinstance(number, int) and not -(2**63) <= number < 2**63:
            self.error(path, "a whole number of more than 64 bits; quote it to make it text", line)
        return number


def at_line(line: int | None) -> str:
    return "" if line is None else f" (line {line})"
