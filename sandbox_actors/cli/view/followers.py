"""The ways to show a running experiment: live, line by line, as JSON, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live

from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.line_view import LineView
from sandbox_actors.cli.view.live import FRAMES_A_SECOND, draw
from sandbox_actors.cli.view.snapshot import Snapshot
from sandbox_actors.protocol import strict_json
from sandbox_actors.protocol.client_requests import Changed
from sandbox_actors.protocol.rows import ProgressBar


class Follower:
    """Give `show` each answer in turn. This one shows nothing; it only updates the snapshot."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()

    def show(self, changed: Changed) -> None:
        self.snapshot.update(changed)


class _LiveFollower(Follower):
    """`picture` is called by another thread, so that clocks advance while nothing changes."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console, self._lock = console, threading.Lock()

    def show(self, changed: Changed) -> None:
        with self._lock:
            super().show(changed)

    def picture(self) -> RenderableType:
        width, height = self._console.size
        with self._lock:
            return Group(*draw(self.snapshot, width, height - 1, time.time()))


@contextmanager
def live_follower(console: Console) -> Iterator[Follower]:
    """Redraws a picture in the terminal, and removes it at the end."""
    follower = _LiveFollower(console)
    with Live(get_renderable=follower.picture, console=console, transient=True, refresh_per_second=FRAMES_A_SECOND):
        yield follower


class LineFollower(Follower):
    """`write` gets a line for each change of state, and every few seconds one for each job's progress."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write, self._view = write, LineView()

    def show(self, changed: Changed) -> None:
        super().show(changed)
        for line in self._view.lines(self.snapshot, time.time()):
            self._write(line)


class JsonFollower(Follower):
    """`write` gets one JSON object for each thing that changed; its key `event` says which kind of thing."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write
        self._bars: dict[int, ProgressBar] = {}

    def show(self, changed: Changed) -> None:
        super().show(changed)
        if changed.experiment is not None:
            self._write_event("experiment", json_forms.experiment(changed.experiment))
        for job in changed.jobs:
            self._write_event("job", json_forms.job(job))
        for metric in changed.metrics:
            self._write_event("metric", json_forms.metric(metric))
        jobs = {job.index: job for job in self.snapshot.jobs()}
        for index, bar in self.snapshot.bars.items():
            if index in jobs and self._bars.get(index) != bar:
                self._write_event("progress", json_forms.progress(jobs[index], bar))
        self._bars = dict(self.snapshot.bars)

    def _write_event(self, event: str, document: dict[str, Any]) -> None:
        self._write(strict_json.dumps({"event": event, **document}))
