"""Series of numbers drawn with characters: as one line, or as a small plot."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
GAP = " "

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of the dots of a braille character (U+2800 plus the bits): four rows, two columns."""


def sparkline(values: Sequence[float], width: int) -> str:
    """At most `width` blocks; a higher value has a higher block. Values that are not finite leave a gap."""
    heights = _heights(resample(values, min(width, len(values))))
    return "".join(BLOCKS[round(each * (len(BLOCKS) - 1))] if math.isfinite(each) else GAP for each in heights)


def plot(values: Sequence[float], width: int, height: int) -> list[str]:
    """`height` lines of `width` braille characters, top line first."""
    cells = [[0] * width for _ in range(height)]
    previous: int | None = None
    for x, each in enumerate(_heights(resample(values, width * 2))):
        if not math.isfinite(each):
            previous = None
            continue
        y = round((1 - each) * (height * 4 - 1))
        for row in _joining(previous, y):
            cells[row // 4][x // 2] |= _DOTS[row % 4][x % 2]
        previous = y
    return ["".join(chr(0x2800 + bits) for bits in line) for line in cells]


def resample(values: Sequence[float], count: int) -> list[float]:
    """`values` reduced to `count` means, or extended to `count` values by linear interpolation."""
    if not values or count < 1:
        return []
    if len(values) >= count:
        edges = [place * len(values) // count for place in range(count + 1)]
        return [_mean(values[start:end]) for start, end in itertools.pairwise(edges)]
    if len(values) == 1:
        return [float(values[0])] * count
    places = [place * (len(values) - 1) / (count - 1) for place in range(count)]
    return [_between(values, place) for place in places]


def _between(values: Sequence[float], place: float) -> float:
    left = min(int(place), len(values) - 2)
    share = place - left
    if share == 0.0 or share == 1.0:
        return float(values[left + round(share)])
    return values[left] * (1 - share) + values[left + 1] * share


def _mean(values: Sequence[float]) -> float:
    finite = [each for each in values if math.isfinite(each)]
    return math.fsum(each / len(finite) for each in finite) if finite else math.nan


def _heights(values: Sequence[float]) -> list[float]:
    """Each value scaled to 0 for the lowest and 1 for the highest; 0.5 if all are equal."""
    finite = [each for each in values if math.isfinite(each)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    # Halves, because the difference of two large floats may overflow.
    extent = high / 2 - low / 2
    return [each if not math.isfinite(each) else (each / 2 - low / 2) / extent if extent else 0.5 for each in values]


def _joining(previous: int | None, row: int) -> range:
    """The rows to fill in one column, so that it touches the column before."""
    if previous is None or previous == row:
        return range(row, row + 1)
    return range(previous + 1, row + 1) if previous < row else range(row, previous)
