"""Where a command writes: data to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from sandbox_actors.cli.view.json_forms import dumps
from sandbox_actors.cli.view.text import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sandbox_actors.cli.view.followers import Follower

WIDE = 10_000
"""Columns where there is no terminal: nothing is truncated or wrapped in a file."""

Row = TypeVar("Row")


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
        """Print lines of text to stdout."""
        print(clean(text), flush=True)

    def document(self, document: Any) -> None:
        """Print a JSON document on one line."""
        print(dumps(document), flush=True)

    def picture(self, *parts: RenderableType) -> None:
        """Print tables and the like, as wide as the terminal, without trailing blanks."""
        with self._console.capture() as captured:
            self._console.print(*parts, sep="\n", soft_wrap=False)
        print("\n".join(line.rstrip() for line in captured.get().splitlines()), flush=True)

    def result(self, document: Any, name: str, text: str) -> None:
        """Print what a command has done: `document` with `--json`, `name` with `-q`, else `text`."""
        if self.is_json:
            self.document(document)
        else:
            self.data(name if self.is_quiet else text)

    def listing(
        self,
        rows: Sequence[Row],
        *,
        document: Callable[[Row], Any],
        name: Callable[[Row], str],
        table: Callable[[Sequence[Row]], RenderableType],
        empty: str,
    ) -> None:
        """Print `rows` as one JSON document with `--json`, by name with `-q`, else as a table, or the note `empty`."""
        if self.is_json:
            self.document([document(row) for row in rows])
        elif self.is_quiet:
            for row in rows:
                self.data(name(row))
        elif rows:
            self.picture(table(rows))
        else:
            self.note(empty)

    def note(self, text: str) -> None:
        """Print lines of text to stderr: they are not part of the data."""
        print(clean(text), file=sys.stderr, flush=True)

    @property
    def width(self) -> int:
        return self._console.width if self.is_terminal else 80

    def follower(self) -> AbstractContextManager[Follower]:
        """What shows a running experiment: in the terminal, line by line, as JSON, or not at all."""
        from sandbox_actors.cli.view.followers import Follower, JsonFollower, LineFollower, live_follower

        if self.is_json:
            return nullcontext(JsonFollower(lambda line: print(line, flush=True)))
        if self.is_quiet:
            return nullcontext(Follower())
        if self.is_terminal and _is_terminal(sys.stderr):
            return live_follower(_console(sys.stderr))
        return nullcontext(LineFollower(self.note))


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def _console(stream: TextIO) -> Console:
    from rich.console import Console  # importing it takes longer than most commands take to answer

    is_terminal = _is_terminal(stream)
    return Console(
        file=stream,
        force_terminal=is_terminal,
        width=None if is_terminal else WIDE,
        highlight=False,
        markup=False,
        emoji=False,
    )
