"""Numbers formatted for people, and text of unknown origin made safe to print."""

from __future__ import annotations

import math
import re
from typing import Any

from sandbox_actors.protocol.texts import bounded_line

SHORT = 200
"""Characters of an error in a table, or in a line of progress."""

# Escape sequences (CSI and OSC in either form, then any other), control characters except tab and newline, and the
# marks that change the direction of writing.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without escape sequences and control characters; newlines and tabs are kept."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROLS.sub("", text.replace("\u2028", "\n").replace("\u2029", "\n"))


def one_line(text: str) -> str:
    """`clean`, on one line."""
    return " ".join(clean(text).split())


def first_line(text: str) -> str:
    """The first line of an error or reason, as far as it fits beside other things."""
    return bounded_line(text, SHORT)


def duration(seconds: float | None) -> str:
    """0.8 s, 42.0 s, 4m 05s, 1h 02m; empty for None."""
    if seconds is None:
        return ""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}m"


def clock(seconds: float) -> str:
    """0:42, 12:05, 1:02:05."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def size(number: float) -> str:
    """Bytes: 812 B, 44 MB, 1.2 GB."""
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def value(of: Any) -> str:
    """The value of a metric: fractions with four digits, integers with all digits."""
    if isinstance(of, bool) or of is None:
        return {True: "yes", False: "no", None: "–"}[of]
    if isinstance(of, int):
        return f"{of:,}"
    if not isinstance(of, float):
        return one_line(str(of))
    if not math.isfinite(of):
        return str(of)
    if of.is_integer() and abs(of) < 1e15:
        return f"{of:,.0f}"
    return f"{of:,.1f}" if abs(of) >= 1000 else f"{of:.4g}"


def warmth(warm: bool | None) -> str:
    return {True: "warm", False: "cold", None: ""}[warm]
