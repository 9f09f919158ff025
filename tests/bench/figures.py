"""How benchmarks print what they have measured."""

from __future__ import annotations


def print_figure(what: str, value: str, note: str = "") -> None:
    print(f"{what:<52} {value:>14}   {note}", flush=True)
