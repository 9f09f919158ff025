"""What one call of `watch` may record, in the process of a component and in its log watcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from sandbox_actors.errors import Refused
from sandbox_actors.protocol.run_files import JOURNAL
from sandbox_actors.protocol.worker_requests import Report, TakeIn
from sandbox_actors.worker.link import DaemonLink
from sandbox_actors.worker.run_watcher import MOST_POINTS, MOST_TEXT, LogRunWatcher, RunWatcher

TOO_MUCH = r"too much at once \(up to 'm.*it records at most 10,000 values, and 2,097,152 characters"


class MemoryLink:
    """Answers every ask, and keeps it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def ask(self, request: Any) -> None:
        self.asked.append(request)


def watcher_with(link: MemoryLink, folder: Path | None = None) -> RunWatcher:
    return RunWatcher(cast(DaemonLink, link), "1.1.0.1", str(folder or ""))


@pytest.mark.parametrize(
    "res",
    [
        pytest.param({f"key{number}": number for number in range(1_000_000)}, id="a million keys"),
        pytest.param({"x" * 1000 + str(number): number for number in range(3_000)}, id="long names"),
        pytest.param({f"key{number}": "x" * 30_000 for number in range(100)}, id="long texts"),
    ],
)
@pytest.mark.parametrize("has_journal", [True, False])
def test_too_much_in_one_call_is_refused_with_the_limits_and_nothing_is_recorded(
    tmp_path: Path, res: Any, has_journal: bool
) -> None:
    link = MemoryLink()
    watcher = watcher_with(link, tmp_path if has_journal else None)
    with pytest.raises(Refused, match=TOO_MUCH):
        watcher.watch(res, "m")
    assert link.asked == []
    assert not (tmp_path / JOURNAL).exists()


def test_as_much_as_the_limit_is_recorded(tmp_path: Path) -> None:
    link = MemoryLink()
    watcher_with(link, tmp_path).watch({f"key{number}": number for number in range(MOST_POINTS)}, "m")
    assert link.asked == [TakeIn(run="1.1.0.1")]
    watcher_with(link).watch({"text": "x" * MOST_TEXT}, "m")  # a value is cut
    (_, report) = link.asked
    assert isinstance(report, Report)
    assert [point.name for point in report.points] == ["m.text"]


def test_the_calls_for_one_line_of_a_log_count_together() -> None:
    watcher = LogRunWatcher(cast(DaemonLink, MemoryLink()), "1.1.0.1")
    half = {f"key{number}": number for number in range(MOST_POINTS // 2)}
    watcher.watch(half, "m")
    watcher.watch(half, "m")
    with pytest.raises(Refused, match=TOO_MUCH):
        watcher.watch(1, "m")
    assert len(watcher.points) == MOST_POINTS
