"""Whatever is done to experiments, clients and daemons, each experiment is in the state that a plain model says
(`lifecycle_model.py`): nothing else runs, each work_dir is used in the order of the submissions, and what was
acknowledged is carried out once.

Sequences of steps are generated, the same ones each time; SANDBOX_TEST_RUNS is how many.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from sandbox_actors.errors import Refused
from sandbox_actors.protocol.client_requests import CancelExperiment, ResumeExperiment
from sandbox_actors.protocol.frames import Request

from .lifecycle_compared import KINDS, WORK_DIRS, Compared
from .lifecycle_model import Modelled

RUNS = int(os.environ.get("SANDBOX_TEST_RUNS", "9"))
STEPS = 14

kinds, work_dirs = st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(WORK_DIRS))
choices = st.integers(0, 999)
"""Which of those that there are, counted round: how many there are is only known when the step is taken."""


class Lifecycle(Compared):
    @precondition(lambda self: self.is_up)
    @rule(kind=kinds, work_dir=work_dirs, takes_over=st.booleans())
    def submit(self, kind: str, work_dir: str, takes_over: bool) -> None:
        self.submit_one(kind, work_dir, takes_over)

    @precondition(lambda self: self.is_up)
    @rule(kind=kinds, work_dir=work_dirs)
    def submit_three(self, kind: str, work_dir: str) -> None:
        for _ in range(3):
            self.submit_one(kind, work_dir)

    @precondition(lambda self: self.is_up)
    @rule(choice=choices, work_dir=work_dirs)
    def submit_the_same_job_to_take_over(self, choice: int, work_dir: str) -> None:
        if (
            earlier := self.one_of(lambda each: not each.fails and WORK_DIRS[work_dir] == each.work_dir, choice)
        ) is None:
            return
        gate = {"has_gate": earlier.has_gate, "gate_is_open": earlier.gate_is_open}
        again = Modelled(0, earlier.token, earlier.work_dir, takes_over=True, **gate)
        self.submitted((again, self.submission(again, work_dir)), self.ask)

    @precondition(lambda self: self.is_up)
    @rule(kind=kinds, work_dir=work_dirs)
    def submit_twice_at_once(self, kind: str, work_dir: str) -> None:
        """With one key, as a client does that was not answered."""

        def ask(request: Request[Any]) -> Any:
            first, second = self.ask_twice(request)
            assert first == second, "a submission that is sent again gets the same answer"
            return first

        self.submitted(self.new(kind, work_dir), ask)

    @precondition(lambda self: self.is_up)
    @rule(kind=kinds, work_dir=work_dirs, dies=st.booleans())
    def submit_leave_and_submit_again(self, kind: str, work_dir: str, dies: bool) -> None:
        def ask(request: Request[Any]) -> Any:
            self.ask_and_leave(request, dies)
            return self.ask(request)

        self.submitted(self.new(kind, work_dir), ask)

    @precondition(lambda self: self.is_up)
    @rule(kind=st.sampled_from(["gated", "gated and failing"]), work_dir=work_dirs, takes_over=st.booleans())
    def submit_and_cancel(self, kind: str, work_dir: str, takes_over: bool) -> None:
        each, request = self.new(kind, work_dir, takes_over)
        each.id = int(self.ask(request).experiment)
        assert self.ask(CancelExperiment(experiment=str(each.id))).state == "cancelled"
        self.model.submit(each)
        self.settle()
        is_first = each.state == "running"
        self.model.end(each, "cancelled")
        if is_first:  # it may have been cancelled before its job was started
            each.runs = self.runs()[each.token]
            each.has_started = True

    @precondition(lambda self: self.is_up)
    @rule(choice=choices)
    def cancel(self, choice: int) -> None:
        if each := self.one_of(lambda each: each.is_unfinished, choice):
            assert self.ask(CancelExperiment(experiment=str(each.id))).state == "cancelled"
            self.model.end(each, "cancelled")

    @precondition(lambda self: self.is_up)
    @rule(choice=choices, dies=st.booleans())
    def cancel_leave_and_cancel_again(self, choice: int, dies: bool) -> None:
        if each := self.one_of(lambda each: each.is_unfinished, choice):
            self.ask_and_leave(CancelExperiment(experiment=str(each.id)), dies)
            with refused_at_most("cancelled already"):
                assert self.ask(CancelExperiment(experiment=str(each.id))).state == "cancelled"
            self.model.end(each, "cancelled")

    @precondition(lambda self: self.is_up)
    @rule(choice=choices)
    def cancel_what_has_ended(self, choice: int) -> None:
        if each := self.one_of(lambda each: not each.is_unfinished, choice):
            with pytest.raises(Refused):
                self.ask(CancelExperiment(experiment=str(each.id)))

    @precondition(lambda self: self.is_up)
    @rule(choice=choices)
    def resume(self, choice: int) -> None:
        if each := self.one_of(can_be_resumed, choice):
            self.ask(ResumeExperiment(experiment=str(each.id)))
            self.model.resume(each)

    @precondition(lambda self: self.is_up)
    @rule(choice=choices)
    def resume_twice_at_once(self, choice: int) -> None:
        if each := self.one_of(can_be_resumed, choice):
            answers = self.ask_twice(ResumeExperiment(experiment=str(each.id)))
            assert sorted(type(answer).__name__ for answer in answers) == ["Refused", "Submitted"], answers
            self.model.resume(each)

    @precondition(lambda self: self.is_up)
    @rule(choice=choices, dies=st.booleans())
    def resume_leave_and_resume_again(self, choice: int, dies: bool) -> None:
        if each := self.one_of(can_be_resumed, choice):
            self.ask_and_leave(ResumeExperiment(experiment=str(each.id)), dies)
            with refused_at_most("nothing to resume", "has succeeded"):
                self.ask(ResumeExperiment(experiment=str(each.id)))
            self.model.resume(each)

    @precondition(lambda self: self.is_up)
    @rule(choice=choices)
    def resume_what_cannot_be(self, choice: int) -> None:
        if each := self.one_of(lambda each: not can_be_resumed(each), choice):
            with pytest.raises(Refused):
                self.ask(ResumeExperiment(experiment=str(each.id)))

    @rule(choice=choices)
    def open_gate(self, choice: int) -> None:
        """Also while no daemon is there."""
        if each := self.one_of(lambda each: each.has_gate and not each.gate_is_open, choice):
            self.open(each)

    @precondition(lambda self: self.is_up)
    @rule(choice=choices)
    def stop_worker(self, choice: int) -> None:
        if each := self.one_of(lambda each: each.state == "running", choice):
            with self.client() as client:
                (worker,) = (row.worker for row in client.workers() if row.job.startswith(f"{each.id} "))
                client.stop_worker(worker, force=True)
            self.model.end(each, "failed")

    @precondition(lambda self: self.is_up)
    @rule()
    def kill_daemon(self) -> None:
        self.place.kill()
        self.is_up = False

    @precondition(lambda self: self.is_up)
    @rule()
    def stop_daemon(self) -> None:
        """What runs has failed, and can be resumed; what waits continues to wait."""
        self.place.stop()
        self.is_up = False
        for each in self.model.experiments.values():
            if each.state == "running":
                self.model.end(each, "failed")

    @precondition(lambda self: self.is_up)
    @rule()
    def replace_daemon(self) -> None:
        self.place.kill()
        self.place.start()

    @precondition(lambda self: not self.is_up)
    @rule()
    def start(self) -> None:
        self.place.start()
        self.is_up = True


@contextmanager
def refused_at_most(*reasons: str) -> Iterator[None]:
    """The block may be refused, for one of these reasons."""
    try:
        yield
    except Refused as refused:
        if not any(reason in str(refused) for reason in reasons):
            raise


def can_be_resumed(each: Modelled) -> bool:
    return each.state in ("failed", "cancelled")


def test_experiments_are_in_the_states_that_the_model_says(shared_envs: Path) -> None:
    chosen = settings(
        max_examples=RUNS,
        stateful_step_count=STEPS,
        phases=(Phase.generate,),  # each try takes seconds: a failure is shown as it was found
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(partial(Lifecycle, shared_envs), settings=chosen)


def test_what_was_resumed_waits_behind_what_waited_before(shared_envs: Path) -> None:
    """Also where the next daemon has the order from the store alone."""
    life = Lifecycle(shared_envs)
    try:
        first, second = (life.submit_one("gated") for _ in range(2))
        life.agrees()
        life.cancel(choice=0)
        third = life.submit_one("gated")
        life.resume(choice=0)
        life.replace_daemon()
        for each in (second, third, first):
            life.agrees()
            assert each.state == "running"
            life.open(each)
    finally:
        life.teardown()
