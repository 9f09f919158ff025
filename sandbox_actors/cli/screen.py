"""Where a command writes: data to stdout, everything else to stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from sandbox_actors.cli.exit_status import NOT_WRITTEN, SUCCEEDED
from sandbox_actors.cli.view.text import clean
from sandbox_actors.protocol.strict_json import dumps
from sandbox_actors.system.standard_files import silence

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sandbox_actors.cli.view.followers import Follower

WIDE = 10_000
"""Columns where there is no terminal: nothing is truncated or wrapped in a file."""

NARROWEST = 40
"""Columns of a table in a terminal that says it has fewer, or none."""

Row = TypeVar("Row")


class Screen:
    """`is_json` and `is_quiet` are the options `--json` and `-q`.

    `lost` is the error of the first output that could not be written: what follows is dropped, and the command
    continues, because its exit status still counts. BrokenPipeError is raised: at the end of a pipe, nobody waits.
    """

    def __init__(self, *, is_json: bool = False, is_quiet: bool = False) -> None:
        self.is_json, self.is_quiet = is_json, is_quiet
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        self.is_terminal = _is_terminal(sys.stdout)
        self.lost: OSError | None = None

    def data(self, text: str) -> None:
        """Print lines of text to stdout."""
        self._print(clean(text))

    def document(self, document: Any) -> None:
        """Print a JSON document on one line."""
        self._print(dumps(document))

    def picture(self, *parts: RenderableType) -> None:
        """Print tables and the like, as wide as the terminal, without trailing blanks."""
        drawn = io.StringIO()
        _console(drawn, self.is_terminal, self.width if self.is_terminal else WIDE).print(*parts, sep="\n")
        self._print("\n".join(line.rstrip() for line in drawn.getvalue().splitlines()))

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
        """Print lines of text to stderr: they are not part of the data, and dropped if they cannot be written."""
        try:
            print(clean(text), file=sys.stderr, flush=True)
        except OSError:
            silence(sys.stderr)

    @property
    def width(self) -> int:
        """Columns of the terminal, but enough for a table; 80 where there is no terminal."""
        return max(NARROWEST, _console(sys.stdout, True).width) if self.is_terminal else 80

    def finished(self, status: int) -> int:
        """The exit status of a command that ended with `status`, when all of its output is written or lost."""
        self._print()
        if self.lost is None:
            return status
        outcome = "the command has succeeded, but its output" if status == SUCCEEDED else "the output"
        self.note(f"sandbox: {outcome} could not be written: {self.lost.strerror}")
        return status or NOT_WRITTEN

    def give_up_output(self) -> None:
        """Drop what stdout has not taken yet, and all that follows."""
        silence(sys.stdout)

    def _print(self, *lines: str) -> None:
        try:
            for line in lines:
                print(line)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            self.lost = self.lost or error
            self.give_up_output()

    def follower(self) -> AbstractContextManager[Follower]:
        """What shows a running experiment: in the terminal, line by line, as JSON, or not at all."""
        from sandbox_actors.cli.view.followers import Follower, JsonFollower, LineFollower, live_follower

        if self.is_json:
            return nullcontext(JsonFollower(self._print))
        if self.is_quiet:
            return nullcontext(Follower())
        if self.is_terminal and _is_terminal(sys.stderr):
            return live_follower(_console(sys.stderr, True))
        return nullcontext(LineFollower(self.note))


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def _console(stream: TextIO, is_terminal: bool, width: int | None = None) -> Console:
    from rich.console import Console  # importing it takes longer than most commands take to answer

    return Console(file=stream, force_terminal=is_terminal, width=width, highlight=False, markup=False, emoji=False)
