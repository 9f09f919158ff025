"""Following an experiment to its end, in the four ways there are: live, in lines, as JSON, and silently.

Each is a context manager whose `show` is given every answer in turn; what they show goes away or stays complete when
they are left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live

from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.line_view import PlainView
from sandbox_actors.cli.view.live import FRAMES_A_SECOND, draw
from sandbox_actors.cli.view.snapshot import Scene
from sandbox_actors.protocol.client_requests import Changed
from sandbox_actors.protocol.rows import ProgressBar


class Follower(AbstractContextManager["Follower"]):
    """Silent: keeps the scene and shows nothing."""

    def __init__(self) -> None:
        self.scene = Scene()

    def show(self, changed: Changed) -> None:
        self.scene.update(changed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class LiveFollower(Follower):
    """In a terminal: a picture that is drawn anew, and gone at the end."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        # The picture is drawn by a thread of its own, so that clocks go on while nothing happens.
        self._lock = threading.Lock()
        self._live = Live(
            get_renderable=self._picture, console=console, transient=True, refresh_per_second=FRAMES_A_SECOND
        )

    def show(self, changed: Changed) -> None:
        with self._lock:
            super().show(changed)

    def __enter__(self) -> LiveFollower:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def _picture(self) -> RenderableType:
        width, height = self._console.size
        with self._lock:
            return Group(*draw(self.scene, width, height - 1, time.time()))


class LineFollower(Follower):
    """Elsewhere: `write` gets a line for each change of state, and now and then one about progress."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write, self._view = write, PlainView()

    def show(self, changed: Changed) -> None:
        super().show(changed)
        for line in self._view.lines(self.scene, time.time()):
            self._write(line)


class JsonFollower(Follower):
    """For programs: `write` gets one JSON object for each thing that changed, `event` says which kind."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write
        self._bars: dict[int, ProgressBar] = {}

    def show(self, changed: Changed) -> None:
        super().show(changed)
        if changed.experiment is not None:
            self._tell("experiment", json_forms.experiment(changed.experiment))
        for job in changed.jobs:
            self._tell("job", json_forms.job(job))
        for metric in changed.metrics:
            self._tell("metric", json_forms.metric(metric))
        jobs = {job.index: job for job in self.scene.jobs()}
        for index, bar in self.scene.bars.items():
            if index in jobs and self._bars.get(index) != bar:
                self._tell("progress", json_forms.progress(jobs[index], bar))
        self._bars = dict(self.scene.bars)

    def _tell(self, event: str, document: dict[str, Any]) -> None:
        self._write(json_forms.dumps({"event": event, **document}))
