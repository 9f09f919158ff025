"""Where in the record of an experiment something belongs that a job reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JobPlace:
    """A job in one iteration of an experiment; by default, the experiment as a whole."""

    experiment: str
    pipeline: str = ""
    meta_name: str = ""
    iter: int = 1
    index: int = -1
