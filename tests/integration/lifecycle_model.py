"""What a daemon promises about experiments, without processes, time or disks: the queue of each work_dir, and how each
experiment ends. A job ends at once, or waits for its gate; it fails as often as it says, and succeeds afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox_actors.protocol.rows import State


@dataclass
class Modelled:
    """One experiment with one job. `token` names the job: experiments with equal tokens have equal jobs. `runs` counts
    how often the job was carried out for this experiment."""

    id: int
    token: str
    work_dir: str
    has_gate: bool = False
    fails: int = 0
    takes_over: bool = False
    state: State = "waiting"
    runs: int = 0
    has_started: bool = False
    gate_is_open: bool = False

    @property
    def is_unfinished(self) -> bool:
        return self.state in ("waiting", "running")


@dataclass
class Model:
    """`settle` is called after each change while a daemon is there: without one, nothing starts or is recorded."""

    experiments: dict[int, Modelled] = field(default_factory=dict)
    _queues: dict[str, list[Modelled]] = field(default_factory=dict)
    _last_started: dict[str, Modelled] = field(default_factory=dict)

    def submit(self, experiment: Modelled) -> None:
        self.experiments[experiment.id] = experiment
        self._queue(experiment).append(experiment)

    def resume(self, experiment: Modelled) -> None:
        assert not experiment.is_unfinished
        experiment.state = "waiting"
        self._queue(experiment).append(experiment)

    def end(self, experiment: Modelled, state: State) -> None:
        """It is cancelled, or loses its worker or its daemon."""
        experiment.state = state
        self._queue(experiment).remove(experiment)

    def runs_of(self, token: str) -> int:
        """How often a job was carried out, for whichever experiment."""
        return sum(each.runs for each in self.experiments.values() if each.token == token)

    def settle(self) -> None:
        """Carry out all that does not wait for a gate."""
        for queue in self._queues.values():
            while queue and self._ends(queue[0]):
                queue.pop(0)

    def _ends(self, first: Modelled) -> bool:
        if first.state == "waiting" and self._begins(first):
            return True
        if first.has_gate and not first.gate_is_open:
            return False
        first.state = "failed" if self.runs_of(first.token) <= first.fails else "succeeded"
        return True

    def _begins(self, first: Modelled) -> bool:
        """Whether it has ended already: with `takes_over`, the last one in this work_dir may have done the same job."""
        last = self._last_started.get(first.work_dir)
        is_fresh = not first.has_started
        first.has_started = True
        self._last_started[first.work_dir] = first
        if is_fresh and first.takes_over and last and last.token == first.token and last.state == "succeeded":
            first.state = "succeeded"
            return True
        first.state = "running"
        first.runs += 1
        return False

    def _queue(self, experiment: Modelled) -> list[Modelled]:
        return self._queues.setdefault(experiment.work_dir, [])
