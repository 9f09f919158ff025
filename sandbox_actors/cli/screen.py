"""Where a command writes: data to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

from sandbox_actors.cli.view.json_forms import dumps
from sandbox_actors.cli.view.text import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sandbox_actors.cli.view.followers import Follower

WIDE = 10_000
"""Columns where there is no terminal: nothing is cut off or wrapped for whoever reads a file."""


class Screen:
    """`is_json` and `is_quiet` are the options `--json` and `-q`."""

    def __init__(self, *, is_json: bool = False, is_quiet: bool = False) -> None:
        self.is_json, self.is_quiet = is_json, is_quiet
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
        self.is_terminal = _is_terminal(sys.stdout)

    @cached_property
    def _console(self) -> Console:
        return _console(sys.stdout)

    def data(self, text: str) -> None:
        """Lines of text that are what was asked for."""
        print(clean(text), flush=True)

    def document(self, document: Any) -> None:
        """One JSON document, on one line."""
        print(dumps(document), flush=True)

    def picture(self, *parts: RenderableType) -> None:
        """Tables and the like, as wide as the terminal, without blanks at line ends."""
        with self._console.capture() as captured:
            self._console.print(*parts, sep="\n", soft_wrap=False)
        print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)

    def note(self, text: str) -> None:
        """Something that is said beside the data."""
        print(clean(text), file=sys.stderr, flush=True)

    @property
    def width(self) -> int:
        return self._console.width if self.is_terminal else 80

    def follower(self) -> Follower:
        """How this command shows an experiment as it goes on."""
        from sandbox_actors.cli.view.followers import Follower, JsonFollower, LineFollower, LiveFollower

        if self.is_json:
            return JsonFollower(lambda line: print(line, flush=True))
        if self.is_quiet:
            return Follower()
        if self.is_terminal and _is_terminal(sys.stderr):
            return LiveFollower(_console(sys.stderr))
        return LineFollower(self.note)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def _console(stream: TextIO) -> Console:
    from rich.console import Console  # takes longer to import than most commands to answer

    is_terminal = _is_terminal(stream)
    return Console(
        file=stream,
        force_terminal=is_terminal,
        width=None if is_terminal else WIDE,
        highlight=False,
        markup=False,
        emoji=False,
    )
