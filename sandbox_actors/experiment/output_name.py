"""The dotted name of a job's output, as `input`, `iter_targets` and `iter_updater` write it."""

from __future__ import annotations

from typing import NamedTuple

LAST = "-1"
"""In place of a pipeline and a meta_name: the last job before this one that has any output."""


class OutputName(NamedTuple):
    """`<pipeline>.<meta_name>.<output>[.<key>...]`, or `-1.<output>[.<key>...]`. What the text lacks is empty.

    The keys lead to a value inside the output.
    """

    text: str
    pipeline: str
    meta_name: str
    output: str
    keys: list[str]

    @property
    def is_last(self) -> bool:
        return self.pipeline == LAST


def parse_output_name(text: str) -> OutputName:
    pipeline, _, rest = text.partition(".")
    meta_name, _, rest = ("", "", rest) if pipeline == LAST else rest.partition(".")
    output, *keys = rest.split(".")
    return OutputName(text, pipeline, meta_name, output, keys)
