"""The client's own decisions, with a scripted daemon."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox_actors.client.client import Client, newest_job
from sandbox_actors.client.connection import listener
from sandbox_actors.errors import DaemonUnreachable
from sandbox_actors.protocol.client_requests import (
    Changed,
    Changes,
    LogChunk,
    ReadLog,
    ReadMetrics,
    Submit,
    Submitted,
    decode_client_request,
)
from sandbox_actors.protocol.frames import PROTOCOL_VERSION, Hello, Reply, Welcome, encode
from sandbox_actors.protocol.rows import ExperimentRow, JobRow, MetricRow
from sandbox_actors.system.paths import Paths
from tests.sandbox_actors.client.scripted_daemon import scripted_daemon, welcoming


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(home=tmp_path, socket=tmp_path / "daemon.sock", worker_socket=tmp_path / "workers.sock")


@contextmanager
def client(paths: Paths, answer: Callable[[Any], Any]) -> Iterator[tuple[Client, list[Any]]]:
    """A client, and the requests that it has made; `answer` returns the body of each reply."""
    requests: list[Any] = []

    def reply(frame: Any) -> list[bytes]:
        requests.append(decode_client_request(frame.body))
        return [encode(Reply(id=frame.id, body=msgspec.Raw(encode(answer(requests[-1])))))]

    with scripted_daemon(paths.socket, welcoming(reply)), Client(paths, autostart=False) as made:
        yield made, requests


def changed(next: int, *, finished: bool = False, id: str = "") -> Changed:
    row = ExperimentRow(
        seq=1, id=id, name="n", project="p", state="running", source="", cwd="", work_dir="", submitted=0.0
    )
    return Changed(
        next=next,
        next_progress=next * 10,
        experiment=row if id else None,
        jobs=[],
        metrics=[],
        progress=None,
        finished=finished,
    )


def test_following_asks_for_new_changes_and_keeps_to_the_same_experiment(paths: Paths) -> None:
    answers = iter([changed(3, id="7"), changed(5), changed(6, finished=True)])
    with client(paths, lambda request: next(answers)) as (made, requests):
        assert [each.next for each in made.follow("@", interval=0.0)] == [3, 5, 6]
    asked = [(each.experiment, each.after, each.after_progress) for each in requests if isinstance(each, Changes)]
    assert asked == [("@", 0, 0), ("7", 3, 30), ("7", 5, 50)]


def test_all_pages_of_a_metric_are_read(paths: Paths) -> None:
    stored = [
        MetricRow(seq=seq, name="loss", value=1.0, step=seq, time=0.0, pipeline="", job="", iter=1)
        for seq in range(1, 8)
    ]

    def page(request: ReadMetrics) -> list[MetricRow]:
        return [row for row in stored if row.seq > request.after][:3]

    with client(paths, page) as (made, _):
        assert made.metrics("7", "loss") == stored


def test_a_log_is_read_to_its_end(paths: Paths) -> None:
    data = b"one\ntwo\nthree\n"

    def chunk(request: ReadLog) -> LogChunk:
        piece = data[request.offset : request.offset + 5]
        return LogChunk(data=piece, offset=request.offset, path="", finished=not piece)

    with client(paths, chunk) as (made, requests):
        assert b"".join(made.log("7", "train", follow=True)) == data
    assert all(request.wait > 0 for request in requests)


def test_only_forwarded_environment_variables_are_sent_and_no_keys(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    with client(paths, lambda request: Submitted(experiment="7")) as (made, requests):
        assert made.submit_definition({"a": 1}, "file.yaml") == "7"
    (request,) = requests
    assert isinstance(request, Submit)
    assert (request.environ.get("WANDB_MODE"), request.cwd) == ("offline", os.getcwd())
    assert not any("KEY" in name for name in request.environ)


def test_the_newest_job_is_the_one_that_started_last() -> None:
    def job(index: int, started: float | None) -> JobRow:
        return JobRow(
            seq=1, index=index, pipeline="p", list="l", hook="h", meta_name=f"j{index}", iter=1, state="running",
            started=started,
        )  # fmt: skip

    assert newest_job([job(0, 1.0), job(1, 3.0), job(2, 2.0), job(3, None)]) == "p.j1"
    assert newest_job([job(0, None)]) == ""


@pytest.mark.parametrize("value", ["0", "false", "No", "off"])
def test_no_daemon_is_started_if_autostart_is_off(paths: Paths, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SANDBOX_AUTOSTART", value)
    with pytest.raises(DaemonUnreachable):
        Client(paths)
    assert listener(paths.socket) is None


def test_a_daemon_of_another_version_gives_a_warning(paths: Paths) -> None:
    def old(frame: Any) -> list[bytes]:
        assert isinstance(frame, Hello)
        return [encode(Welcome(protocol=PROTOCOL_VERSION, version="0.0.1", pid=os.getpid()))]

    with (
        scripted_daemon(paths.socket, old),
        pytest.warns(UserWarning, match=r"the daemon has version 0\.0\.1, this client .*; after `sandbox daemon stop`"),
    ):
        Client(paths, autostart=False).close()
