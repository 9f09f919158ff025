"""Large inputs do not stop the event loop: no step of a task of the daemon takes long, and clients are answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .commands import ROOT
from .conftest import Sandbox

LONGEST = 0.1
"""Seconds of processor time that the event loop may be busy at a time. The inputs take several times as long."""

PROGRAM = str(Path(__file__).with_name("slow_steps.py"))


class Watched:
    """A daemon whose slow steps are written to a file."""

    def __init__(self, place: Sandbox) -> None:
        self.place, self._file = place, place.cwd / "slow_steps"
        place.environ["PYTHONPATH"] = str(ROOT)
        place.start(PROGRAM, str(self._file))
        assert place.run({"type": "Returns", "meta_name": "first", "value": 1}).experiment.state == "succeeded"
        self._file.write_text("")

    def slow_steps(self) -> list[str]:
        return [line for line in self._file.read_text().splitlines() if float(line.split()[0]) > LONGEST]


@pytest.fixture
def watched(unserved: Sandbox) -> Iterator[Watched]:
    yield Watched(unserved)
    unserved.stop()


def items(count: int) -> list[dict[str, Any]]:
    return [{"name": f"item_{number}", "value": number} for number in range(count)]


def test_a_large_config_that_is_read_when_its_job_starts_does_not_stop_the_event_loop(watched: Watched) -> None:
    place = watched.place
    lines = [f"- {{name: {each['name']}, value: {each['value']}}}\n" for each in items(25_000)]
    (place.cwd / "late.yaml").write_text("type: faulty:Returns\nvalue: 7\nitems:\n" + "".join(lines))
    definition = place.definition({"type": "Returns", "meta_name": "one"})
    definition["experiment"]["pipelines"][0]["execution_jobs"][0]["extra_configs"] = str(place.cwd / "late.yaml")
    with place.client() as client:
        ended = place.wait(client, client.submit_definition(definition))
    assert ended.experiment.state == "succeeded", ended.jobs[0].error
    assert watched.slow_steps() == []


def test_a_large_experiment_is_stored_planned_and_resumed_without_stopping_the_event_loop(watched: Watched) -> None:
    place = watched.place
    definition = place.definition({"type": "Returns", "meta_name": "one", "value": 7, "items": items(50_000)})
    definition["experiment"]["resume"] = True
    with place.client() as client:
        client.forecast(definition)
        for _ in range(2):  # the second one compares itself with the first
            ended = place.wait(client, client.submit_definition(definition))
            assert ended.experiment.state == "succeeded", ended.jobs[0].error
    assert watched.slow_steps() == []


def test_a_large_source_of_a_component_is_read_without_stopping_the_event_loop(watched: Watched) -> None:
    place = watched.place
    functions = "".join(
        f"def f_{number}(a, b=1, *c):\n    return [a + {number} * b, {{'x': c}}]\n" for number in range(8_000)
    )
    (place.cwd / "mine.py").write_text(
        f"{functions}class Mine:\n    def __init__(self, config): pass\n    def run(self): return 7\n"
    )
    definition = place.definition({"type": "Returns", "meta_name": "one"})
    job = definition["experiment"]["pipelines"][0]["execution_jobs"][0]
    job["component_path"], job["extra_configs"] = str(place.cwd), {"type": "mine:Mine"}
    with place.client() as client:
        client.forecast(definition)
        ended = place.wait(client, client.submit_definition(definition))
        assert ended.experiment.state == "succeeded", ended.jobs[0].error
    assert watched.slow_steps() == []
