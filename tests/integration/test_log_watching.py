"""Metrics from logs are recorded exactly once, whatever happens to the process that reads them."""

from __future__ import annotations

import os
import signal
from itertools import accumulate
from pathlib import Path

import psutil
import pytest

from sandbox_actors.client.client import Client

from .conftest import Sandbox


def log_watchers(client: Client) -> list[int]:
    return [row.pid for row in client.workers() if row.component.endswith("-log") and row.state == "running"]


def sums(client: Client, id: str) -> list[tuple[int | None, object]]:
    return [(row.step, row.value) for row in client.metrics(id, "sum")]


def expected(count: int) -> list[tuple[int, int]]:
    return list(enumerate(accumulate(range(count))))


def test_every_line_counts_once_while_log_watchers_are_killed(sandbox: Sandbox) -> None:
    count, kills = 20_000, 4
    job = {"type": "Counts", "meta_name": "count", "hook": "TrainModelHook", "count": count, "pause": 0.02}
    log = sandbox.cwd / "work" / "log" / "count.log"
    size = sum(len(f"number {number}\n") for number in range(count))
    killed: list[int] = []
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(job))
        while len(killed) < kills and client.show(id).experiment.state in ("waiting", "running"):
            alive = [pid for pid in log_watchers(client) if pid not in killed]
            if alive and log.stat().st_size > size * (len(killed) + 1) // (kills + 2):
                os.kill(alive[0], signal.SIGKILL)
                killed.append(alive[0])
        detail = sandbox.wait(client, id)
        assert sums(client, id) == expected(count)
    assert detail.experiment.state == "succeeded"
    assert len(killed) == kills


def test_a_log_watcher_that_keeps_crashing_is_given_up_and_its_run_continues(sandbox: Sandbox) -> None:
    job = {"type": "DiesWatching", "meta_name": "train", "hook": "TrainModelHook"}
    detail = sandbox.run(job)
    assert detail.experiment.state == "succeeded"
    log = (sandbox.cwd / "work" / "log" / "train.log").read_text()
    assert "metrics of this run are missing: 6 log watchers ended within 60 seconds" in log
    assert "SIGSEGV" in log


def test_a_log_watcher_that_is_stopped_is_replaced(sandbox: Sandbox) -> None:
    count = 2_000
    job = {"type": "Counts", "meta_name": "count", "hook": "TrainModelHook", "count": count, "pause": 0.05}
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(job))
        while not (found := log_watchers(client)):
            assert client.show(id).experiment.state in ("waiting", "running")
        stopped = psutil.Process(found[0])
        stopped.suspend()
        detail = sandbox.wait(client, id)
        assert sums(client, id) == expected(count)
    assert detail.experiment.state == "succeeded"
    assert not stopped.is_running()


def test_a_resumed_job_counts_only_its_own_lines(sandbox: Sandbox, tmp_path: Path) -> None:
    job = {
        "type": "Counts",
        "meta_name": "count",
        "hook": "TrainModelHook",
        "count": 10,
        "once": str(tmp_path / "once"),
    }
    with sandbox.client() as client:
        id = client.submit_definition(sandbox.definition(job))
        assert sandbox.wait(client, id).experiment.state == "failed"
        assert sums(client, id) == expected(10)
        client.resume(id)
        assert sandbox.wait(client, id).experiment.state == "succeeded"
        assert sums(client, id) == expected(10) * 2


CATASTROPHIC = "a word " * 8 + "and no number at the end of this line !"


def found(sandbox: Sandbox, *lines: str) -> tuple[list[object], str]:
    """The metrics of a run that prints `lines`, and its log."""
    job = {"type": "WatchesSlowly", "meta_name": "train", "hook": "TrainModelHook", "lines": list(lines)}
    detail = sandbox.run(job)
    assert detail.experiment.state == "succeeded"
    with sandbox.client() as client:
        values = [row.value for row in client.metrics(detail.experiment.id, "found")]
    return values, (sandbox.cwd / "work" / "log" / "train.log").read_text()


def test_a_regular_expression_that_never_ends_loses_neither_the_run_nor_other_metrics(served: Sandbox) -> None:
    values, log = found(served, "one: 1", CATASTROPHIC, "two: 2")
    assert values == [1, 2]
    assert "[sandbox] metrics of this run are missing: _watch_run took too long at 1 lines; first:\na word" in log


def test_a_line_that_almost_is_a_progress_bar_costs_no_metric(served: Sandbox) -> None:
    almost = "-" * 400 + ": 1%||1/1[" + ",1aaaaaaaaaaaaaaaaaaaa" * 55
    values, log = found(served, "one: 1", *[almost] * 5, "5%|#| 1.2.3/5 [a]", "two: 2")
    assert values == [1, 2]
    assert "[sandbox]" not in log


def test_one_that_never_ends_on_any_line_gets_no_more_lines(served: Sandbox) -> None:
    values, log = found(served, "one: 1", *[CATASTROPHIC] * 20, "two: 2")
    assert values == [1]
    assert "took too long at 3 lines, and was given no more" in log


def test_a_watch_run_that_blocks_is_stopped(served: Sandbox) -> None:
    values, log = found(served, "sleep", "one: 1")
    assert values == [1]
    assert "took too long at 1 lines; first:\nsleep" in log


@pytest.mark.parametrize(
    ("how", "state", "expected"),
    [
        ("in the buffer of C", "succeeded", ["from C"]),
        ("dying", "failed", ["whole", "ha"]),
        ("with bars", "succeeded", [str(step) for step in range(100, 1001, 100)]),
    ],
)
def test_lines_printed_in_unusual_ways_are_watched(served: Sandbox, how: str, state: str, expected: list[str]) -> None:
    detail = served.run({"type": "PrintsOddly", "meta_name": "train", "hook": "TrainModelHook", "how": how})
    with served.client() as client:
        assert [row.value for row in client.metrics(detail.experiment.id, "seen")] == expected
    assert detail.experiment.state == state


def test_metrics_are_recorded_while_the_trainer_holds_the_interpreter(served: Sandbox, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    how = {"how": "holding the interpreter", "gate": str(gate)}
    with served.client() as client:
        job = {"type": "PrintsOddly", "meta_name": "train", "hook": "TrainModelHook", **how}
        id = client.submit_definition(served.definition(job))
        while not client.metrics(id, "seen"):
            assert client.show(id).experiment.state in ("waiting", "running")
        gate.touch()
        assert served.wait(client, id).experiment.state == "succeeded"
