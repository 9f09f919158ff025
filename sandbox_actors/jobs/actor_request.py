"""Which actor a job wants: the component, its env, and what it may use."""

from __future__ import annotations

import math

import trio

from sandbox_actors.experiment.model import Job

KEEP_ALIVE = 1800.0
"""Seconds that an actor stays warm unless its job says otherwise."""


_threads = trio.CapacityLimiter(4)


def _keep_alive(job: Job) -> float:
    """Seconds, of which there is no end where the job says `forever`."""
    if job.keep_alive is None:
        return KEEP_ALIVE
    return math.inf if job.keep_alive < 0 else job.keep_alive
