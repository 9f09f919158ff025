"""The id of a run: one call of a component, in one attempt of a job of an experiment."""

from __future__ import annotations

from dataclasses import dataclass, replace

EXPORT = "wandb"


@dataclass(frozen=True, order=True)
class RunId:
    """`stage` counts the calls of an attempt from 0. As text: `<experiment>.<iter>.<index>.<attempt>[.<stage>]`.

    The export of an experiment, which belongs to no job, has iteration 0; as text: `<experiment>.wandb`.
    """

    experiment: str
    iter: int
    index: int
    attempt: int
    stage: int = 0

    @classmethod
    def of_export(cls, experiment: str) -> RunId:
        return cls(experiment, 0, 0, 0)

    @classmethod
    def parse(cls, text: str) -> RunId:
        """The inverse of `str`. Raises ValueError for anything else."""
        experiment, *rest = text.split(".")
        if rest == [EXPORT]:
            return cls.of_export(experiment)
        if not 3 <= len(rest) <= 4:
            raise ValueError(f"{text!r} is not the id of a run")
        return cls(experiment, *map(int, rest))

    @property
    def attempt_id(self) -> RunId:
        """The id of the first call of the attempt, which also identifies the attempt."""
        return replace(self, stage=0)

    @property
    def job(self) -> str:
        """The common start of the ids of all runs of the job, without the dot after it."""
        return f"{self.experiment}.{self.iter}.{self.index}"

    def __str__(self) -> str:
        if self.iter == 0:
            return f"{self.experiment}.{EXPORT}"
        stage = f".{self.stage}" if self.stage else ""
        return f"{self.job}.{self.attempt}{stage}"
