"""An env that is being built: in a terminal one line that changes, elsewhere a line for each stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from envs.builder import Progress
from sandbox_actors.cli.view.line_view import PROGRESS_SECONDS
from sandbox_actors.cli.view.live import FRAMES, FRAMES_A_SECOND
from sandbox_actors.cli.view.text import clock, one_line


class BuildView(AbstractContextManager["BuildView"]):
    """Silent. What the others show is gone, or complete, when they are left."""

    def show(self, progress: Progress) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class BuildLines(BuildView):
    """`write` gets a line when a stage begins, and now and then what an installer says."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._write, self._now, self._started = write, now, now()
        self._done: int | None = -1
        self._told = self._started

    def show(self, progress: Progress) -> None:
        now = self._now()
        if progress.done != self._done or now - self._told >= PROGRESS_SECONDS:
            self._done, self._told = progress.done, now
            self._write(f"[{clock(now - self._started)}] {_stage(progress)}{one_line(progress.message)}")


class LiveBuild(BuildView):
    """One line, drawn anew several times a second."""

    def __init__(self, console: Console) -> None:
        self._console, self._started = console, time.monotonic()
        self._progress = Progress(message="")
        self._live = Live(
            get_renderable=self._picture, console=console, transient=True, refresh_per_second=FRAMES_A_SECOND
        )

    def show(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> LiveBuild:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def _picture(self) -> Text:
        return draw_build(self._progress, time.monotonic() - self._started, self._console.width)


def draw_build(progress: Progress, seconds: float, width: int) -> Text:
    """One line of at most `width` cells."""
    spinner = FRAMES[int(seconds * FRAMES_A_SECOND) % len(FRAMES)]
    line = Text.assemble((f"{spinner} ", "cyan"), (clock(seconds), "dim"), f"  {_stage(progress)}")
    line.append(one_line(progress.message))
    line.truncate(width, overflow="ellipsis")
    return line


def _stage(progress: Progress) -> str:
    """Which stage of how many is under way."""
    if progress.done is None or not progress.total:
        return ""
    return f"{min(progress.done + 1, progress.total)}/{progress.total} "
