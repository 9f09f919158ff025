"""Functions such as users have: several conversations of a sample, and a field more."""

from __future__ import annotations

from typing import Any


def build(item: dict[str, Any], times: int, **_: Any) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": f"{item['query']}.{number}"}] for number in range(times)]


def parse(output: str, item: dict[str, Any], **_: Any) -> str:
    item["seen"] = item.get("seen", 0) + 1
    return output.upper()
