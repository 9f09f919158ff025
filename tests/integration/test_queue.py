"""Many experiments that wait: each costs the same, however many there are."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sandbox_actors.client.client import Client
from sandbox_actors.experiment.model import Resources

from .conftest import Sandbox

WAITING = 60


def start(client: Client, place: Sandbox, number: int, is_same_folder: bool, **job: Any) -> str:
    work_dir = str(place.cwd / ("work" if is_same_folder else f"work{number}"))
    job = {"meta_name": "job", "resources": Resources(cpus=64), **job}
    return client.submit_definition(place.definition(job, work_dir=work_dir))


def changes(client: Client) -> int:
    """How many rows have been written: each gets the next number of one sequence."""
    return max(row.seq for row in client.experiments())


@pytest.mark.parametrize("is_same_folder", [True, False], ids=["for a work_dir", "for cpus"])
def test_what_a_waiting_experiment_writes_does_not_grow_with_their_number(
    sandbox: Sandbox, is_same_folder: bool
) -> None:
    mine, other = sandbox.cwd / "mine", sandbox.cwd / "other"
    with sandbox.client() as client:
        start(client, sandbox, 0, is_same_folder, type="Meets", mine=str(mine), other=str(other))
        while not mine.exists():
            time.sleep(0.01)
        before = changes(client)
        ids = [start(client, sandbox, number, is_same_folder, type="Returns", value=1) for number in range(WAITING)]
        for id in ids:
            while "waits for" not in client.show(id).experiment.reason + client.show(id).jobs[0].reason:
                time.sleep(0.01)
        other.touch()
        for id in ids:
            assert sandbox.wait(client, id).experiment.state == "succeeded"
        assert (changes(client) - before) / WAITING < 30  # 21; with a wake-up for each change, 100
        started = [client.show(id).jobs[0].started or 0.0 for id in ids]
        assert started == sorted(started) or not is_same_folder  # cpus are given in the order in which jobs get there
