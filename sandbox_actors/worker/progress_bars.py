"""Recognises the progress bars of tqdm in a log.

A line is whatever a trainer prints, so the time taken must grow with its length and no faster: the search is done by
methods of str, and the one regular expression is matched at one place and repeats nothing that a neighbour repeats too.
"""

from __future__ import annotations

import re

from sandbox_actors.protocol.rows import ProgressBar

LONGEST_BAR = 2_000
"""Characters at the beginning of a line in which a bar is looked for."""

_PERCENT = "%|"
_COUNTS = re.compile(
    r"\s{0,16}(?P<done>[0-9]{1,18}(?:\.[0-9]{1,20})?)(?P<done_unit>[kMGTP]?)"
    r"/(?P<total>[0-9]{1,18}(?:\.[0-9]{1,20})?)(?P<total_unit>[kMGTP]?)(?![0-9.])"
)
_SCALE = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


def split_bar(line: str) -> tuple[ProgressBar | None, list[str]]:
    """The progress bar in `line`, if there is one, and the line; in two parts if text follows the bar.

    A bar does not end its line, so the next `print` continues that line: its text counts as a line of its own.
    """
    head = line[:LONGEST_BAR]
    before, percent, behind = head.partition(_PERCENT)
    while percent:
        found = _bar(before, behind)
        if found is not None:
            bar, left = found
            end = len(head) - left
            return bar, [part for part in (line[:end], line[end:]) if part.strip()]
        before, percent, behind = behind.partition(_PERCENT)
    return None, [line]


def _bar(before: str, behind: str) -> tuple[ProgressBar, int] | None:
    """The bar between whose label and drawing `%|` stands, and how many characters follow it."""
    label = before.rpartition("|")[2]
    described = label.rstrip("0123456789")
    if described == label:
        return None
    _, _, counts = behind.partition("|")
    match = _COUNTS.match(counts)
    if match is None:
        return None
    times, bracket, rest = counts[match.end() :].partition("]")
    if not bracket or "[" not in times:
        return None
    done, total = (float(match[each]) * _SCALE[match[f"{each}_unit"]] for each in ("done", "total"))
    name, colon, _ = described.rpartition(":")
    return ProgressBar(label=name.strip() if colon else "", done=done, total=total), len(rest)
