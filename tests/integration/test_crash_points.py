"""A daemon that is killed at any of its commits or sends neither loses nor doubles anything that it acknowledged.

By default a sample of the points is tested; with SANDBOX_CRASH_POINTS=all, each of them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import accumulate, product
from pathlib import Path

from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import listener
from sandbox_actors.errors import DaemonUnreachable

from .conftest import Sandbox

CRASHING = Path(__file__).with_name("crashing.py")
COUNT = 40
LAST = {"commit": 26, "send": 34}
"""At least how many of each there are while a daemon continues one experiment and runs another."""

STEP = 1 if os.environ.get("SANDBOX_CRASH_POINTS") == "all" else 7


def points() -> list[tuple[str, str, int]]:
    """Kind, side and number. `before` and `after` alternate in the sample."""
    found = []
    for what, (shift, when) in product(LAST, enumerate(("before", "after"))):
        found += [(what, when, number) for number in range(1 + shift * STEP // 2, LAST[what] + 1, STEP)]
    return found


def experiment(place: Sandbox, name: str) -> dict[str, object]:
    count = {"type": "Counts", "meta_name": "count", "hook": "TrainModelHook", "count": COUNT, "output": ["counted"]}
    add = {"type": "Adds", "meta_name": "add", "value": 0, "input": {"extra_configs.value": "anonymous.count.counted"}}
    work_dir = str(place.cwd / name)
    return place.definition(count, add, experiment_name=name, work_dir=work_dir)


def run_into(place: Sandbox, point: tuple[str, str, int], acknowledged: dict[str, str], names: list[str]) -> bool:
    """Run an experiment on a daemon that dies at `point`; returns whether it died. Records what was acknowledged."""
    what, when, number = point
    name = f"{what}-{when}-{number}"
    place.start(str(CRASHING), what, when, str(number))
    names.append(name)
    with suppress(DaemonUnreachable), place.client() as client:
        acknowledged[name] = client.submit_definition(experiment(place, name))
        place.wait(client, acknowledged[name])
    assert place.daemon is not None
    has_died = listener(place.paths.socket) is None
    place.kill()
    return has_died


def test_a_daemon_killed_at_any_commit_or_send_keeps_what_it_acknowledged(unserved: Sandbox) -> None:
    acknowledged: dict[str, str] = {}
    names: list[str] = []
    died = [point for point in points() if run_into(unserved, point, acknowledged, names)]
    assert len(died) > len(points()) // 2, "most points must be reached"
    unserved.start()
    with unserved.client() as client:
        rows = client.experiments()
        for name in names:
            found = [row.id for row in rows if row.name == name]
            assert found == [acknowledged[name]] if name in acknowledged else len(found) <= 1, name
        for row in rows:
            check(unserved, client, row.id)
    unserved.stop()


def check(place: Sandbox, client: Client, id: str) -> None:
    detail = place.wait(client, id)
    assert detail.experiment.state == "succeeded", (detail.experiment, detail.jobs)
    entries = detail.iterations[0].context_infos["anonymous"]
    assert [entry.get("counted", entry.get("res_0")) for entry in entries] == [COUNT, COUNT + 1]
    sums = [(row.step, row.value) for row in client.metrics(id, "sum")]
    assert sums == list(enumerate(accumulate(range(COUNT)))), detail.experiment.name
