"""Bytes of a log as lines that are safe to print."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

from sandbox_actors.cli.view.text import clean

LONGEST_LINE = 64 * 1024
"""Characters after which a line is split."""

_ENDS = re.compile(r"\r\n|\n|\r(?!\Z)")
_BAR = re.compile(r"(?<!\d)\d+(?:%\||(?:it|/\d+) \[[\d:])")


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Complete lines as they are read, without line ends; at the end of the log, the incomplete last line too.

    A carriage return also ends a line. Of consecutive states of a progress bar only the last one is given.
    """
    bar: str | None = None
    for line in _split(chunks):
        text = clean(line)
        if _BAR.search(text):
            bar = text
            continue
        if bar is not None:
            yield bar
            bar = None
        yield text
    if bar is not None:
        yield bar


def _split(chunks: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for chunk in chunks:
        rest += decoder.decode(chunk)
        # A carriage return at the end may be the first half of \r\n.
        *complete, rest = _ENDS.split(rest)
        yield from complete
        while len(rest) > LONGEST_LINE:
            yield rest[:LONGEST_LINE]
            rest = rest[LONGEST_LINE:]
    rest += decoder.decode(b"", final=True)
    if rest.rstrip("\r"):
        yield rest.rstrip("\r")
