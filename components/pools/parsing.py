"""Parses samples: many lines at once, with errors that name the line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from sandbox_actors.errors import ComponentFailed


class Lines(Protocol):
    """A source of lines that knows their places."""

    path: str

    def __len__(self) -> int: ...
    def blocks(self, label: str = "") -> Iterator[tuple[int, int, bytes]]: ...
    def place(self, row: int) -> str: ...


def parsed(lines: Lines, kind: Any, label: str = "") -> Iterator[tuple[int, list[Any]]]:
    """All samples in order as values of a type, several at a time: the number of the first, and the values.

    Raises ComponentFailed with file and line for invalid JSON and for values of another type.
    """
    decoder = msgspec.json.Decoder(kind)
    for first, count, block in lines.blocks(label):
        try:
            values = decoder.decode_lines(block)
        except (ValueError, RecursionError):
            values = []
        if len(values) != count:
            raise _first_misfit(lines, first, block, decoder)
        yield first, values


def misfit(lines: Lines, row: int, error: Exception) -> ComponentFailed:
    """The error for a sample that could not be parsed."""
    if isinstance(error, msgspec.ValidationError):
        return ComponentFailed(f"{lines.place(row)}: {error}")
    return ComponentFailed(f"{lines.place(row)}: not JSON: {error}")


def _first_misfit(lines: Lines, first: int, block: bytes, decoder: Any) -> ComponentFailed:
    for row, line in enumerate(block.split(b"\n"), start=first):
        try:
            decoder.decode(line)
        except (ValueError, RecursionError) as error:
            return misfit(lines, row, error)
    return ComponentFailed(f"{lines.place(first)}: not one sample a line, here or in the lines below")
