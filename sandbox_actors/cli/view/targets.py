"""`iter_targets` after each completed iteration: the value, and whether the target is met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sandbox_actors.errors import ConfigError
from sandbox_actors.experiment.context_infos import ContextInfos
from sandbox_actors.experiment.model import thaw
from sandbox_actors.experiment.targets import TargetResult, evaluate_target
from sandbox_actors.protocol.rows import ExperimentDetail


@dataclass(frozen=True)
class TargetAt:
    """One target after iteration `iter`."""

    iter: int
    result: TargetResult


def targets_of(detail: ExperimentDetail) -> Iterator[TargetAt]:
    """In the order of the iterations, then of the file."""
    try:
        targets = thaw(detail.definition).iter_targets
    except ConfigError:
        return  # the experiment was submitted by an incompatible version
    for iteration in detail.iterations if targets else ():
        if all(job.state == "succeeded" for job in detail.jobs if job.iter == iteration.iter):
            infos = ContextInfos.from_dict(iteration.iter, iteration.context_infos)
            yield from (TargetAt(iteration.iter, evaluate_target(target, infos)) for target in targets)
