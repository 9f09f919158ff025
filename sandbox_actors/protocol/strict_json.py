"""JSON as its standard has it, for readers of any kind.

JSON has no NaN and no infinities, and many readers refuse a text that holds one. They are written as the strings "NaN",
"Infinity" and "-Infinity", which no reader takes for another number; `null` would lose which of them it was.
"""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(document: Any, *, is_ascii: bool = True) -> str:
    """`document` on one line. What JSON has no form for becomes text. `is_ascii`: all else is escaped, so that the line
    cannot contain control sequences for a terminal."""
    return json.dumps(_strict(document), allow_nan=False, ensure_ascii=is_ascii, default=str)


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _strict(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(each) for each in value]
    return value
