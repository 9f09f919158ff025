"""What a run is called: one call of a component, in an attempt of a job of an experiment."""

from __future__ import annotations

from dataclasses import dataclass, replace

EXPORT = "wandb"


@dataclass(frozen=True, order=True)
class RunId:
    """`stage` counts the calls of an attempt from 0. Written `<experiment>.<iter>.<index>.<attempt>[.<stage>]`; the
    export of an experiment, which is no job's, has iteration 0 and is written `<experiment>.wandb`."""

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
        """Raises ValueError for anything that `str` does not write."""
        experiment, *rest = text.split(".")
        if rest == [EXPORT]:
            return cls.of_export(experiment)
        if not 3 <= len(rest) <= 4:
            raise ValueError(f"{text!r} does not name a run")
        return cls(experiment, *map(int, rest))

    @property
    def attempt_id(self) -> RunId:
        """The first call of the attempt, by which the attempt as a whole is known."""
        return replace(self, stage=0)

    @property
    def job(self) -> str:
        """What the names of all runs of the job begin with, before a dot."""
        return f"{self.experiment}.{self.iter}.{self.index}"

    def __str__(self) -> str:
        if self.iter == 0:
            return f"{self.experiment}.{EXPORT}"
        stage = f".{self.stage}" if self.stage else ""
        return f"{self.job}.{self.attempt}{stage}"
