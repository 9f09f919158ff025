"""The job and iteration that something recorded belongs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JobPlace:
    """A job in one iteration of an experiment. With the defaults: the experiment itself."""

    experiment: str
    pipeline: str = ""
    meta_name: str = ""
    iter: int = 1
    index: int = -1
