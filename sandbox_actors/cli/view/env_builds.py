"""An environment that is being built: in a terminal one line that changes, elsewhere a line for each stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from envs.builder import Progress
from sandbox_actors.cli.view.line_view import PROGRESS_SECONDS
from sandbox_actors.cli.view.live import FRAMES, FRAMES_A_SECOND
from sandbox_actors.cli.view.text import clock, one_line


class BuildView:
    """Shows nothing."""

    def show(self, progress: Progress) -> None:
        return None


class BuildLines(BuildView):
    """`write` gets a line when a stage begins, and every few seconds the last output of an installer."""

    def __init__(self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._write, self._now, self._started = write, now, now()
        self._done: int | None = -1
        self._last_line = self._started

    def show(self, progress: Progress) -> None:
        now = self._now()
        if progress.done != self._done or now - self._last_line >= PROGRESS_SECONDS:
            self._done, self._last_line = progress.done, now
            self._write(f"[{clock(now - self._started)}] {_stage(progress)}{one_line(progress.message)}")


class _LatestProgress(BuildView):
    def __init__(self) -> None:
        self.progress = Progress(message="")

    def show(self, progress: Progress) -> None:
        self.progress = progress


@contextmanager
def live_build(console: Console) -> Iterator[BuildView]:
    """Redraws one line of the terminal, and removes it at the end."""
    latest, started = _LatestProgress(), time.monotonic()

    def picture() -> Text:
        return draw_build(latest.progress, time.monotonic() - started, console.width)

    with Live(get_renderable=picture, console=console, transient=True, refresh_per_second=FRAMES_A_SECOND):
        yield latest


def draw_build(progress: Progress, seconds: float, width: int) -> Text:
    """One line of at most `width` cells."""
    spinner = FRAMES[int(seconds * FRAMES_A_SECOND) % len(FRAMES)]
    line = Text.assemble((f"{spinner} ", "cyan"), (clock(seconds), "dim"), f"  {_stage(progress)}")
    line.append(one_line(progress.message))
    line.truncate(width, overflow="ellipsis")
    return line


def _stage(progress: Progress) -> str:
    """The number of the current stage, of how many."""
    if progress.done is None or not progress.total:
        return ""
    return f"{min(progress.done + 1, progress.total)}/{progress.total} "
