"""A running experiment as lines of a terminal, redrawn several times a second.

`draw` is a pure function of the snapshot, the size of the terminal, and the time.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import set_cell_size
from rich.text import Text

from sandbox_actors.cli.view.snapshot import Series, Snapshot
from sandbox_actors.cli.view.sparkline import sparkline
from sandbox_actors.cli.view.text import clock, duration, one_line, value, warmth
from sandbox_actors.protocol.rows import ExperimentRow, JobRow, ProgressBar

STYLES = {"succeeded": "green", "failed": "red", "running": "cyan", "waiting": "dim", "cancelled": "yellow"}
MARKS = {"succeeded": "✓", "failed": "✗", "running": "●", "waiting": "○", "cancelled": "◌"}
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAMES_A_SECOND = 8

NAME_WIDTH, HOOK_WIDTH = 26, 22
SPARK_WIDTH, BAR_WIDTH = 20, 30
LEVELS = 3
"""The highest level of summarizing, for a terminal with too few lines for everything."""


def draw(snapshot: Snapshot, width: int, height: int, now: float) -> list[Text]:
    """At most `height` lines of at most `width` cells. Ended and waiting jobs are summarized before running ones."""
    if snapshot.experiment is None:
        return [Text("…", style="dim")]
    frame = _Frame(snapshot, width, now)
    lines: list[Text] = []
    for level in range(LEVELS + 1):
        lines = list(frame.lines(snapshot.experiment, level))
        if len(lines) <= height:
            break
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


class _Frame:
    def __init__(self, snapshot: Snapshot, width: int, now: float) -> None:
        self._snapshot, self._now = snapshot, now
        jobs = snapshot.jobs()
        self._name_width = min(NAME_WIDTH, max((len(job.meta_name) for job in jobs), default=0))
        hook_width = min(HOOK_WIDTH, max((len(hook(job)) for job in jobs), default=0))
        self._hook_width = hook_width if width >= 72 else 0
        self._rest = max(0, width - 4 - self._name_width - self._hook_width - 20)

    def lines(self, experiment: ExperimentRow, level: int) -> Iterator[Text]:
        yield self._head(experiment)
        for name, jobs in self._snapshot.pipelines().items():
            if level < LEVELS:
                yield Text("")
            yield from self._pipeline(one_line(name), jobs, level)

    def _head(self, experiment: ExperimentRow) -> Text:
        end = experiment.finished or self._now
        facts = [f"experiment {experiment.id}", clock(end - (experiment.started or experiment.submitted))]
        facts.append(f"{experiment.jobs_done} of {experiment.jobs_total} jobs")
        if self._snapshot.has_iterations:
            facts.append(f"iteration {self._snapshot.iteration}")
        head = Text.assemble((one_line(experiment.name) or "experiment", "bold"), "  ")
        head.append(experiment.state, STYLES.get(experiment.state, ""))
        head.append(f"  {' · '.join(facts)}", "dim")
        if experiment.reason:
            head.append(f"  {one_line(experiment.reason)}", "yellow")
        return head

    def _pipeline(self, name: str, jobs: list[JobRow], level: int) -> Iterator[Text]:
        states = {job.state for job in jobs}
        if level >= 1 and (states == {"succeeded"} or (level >= 2 and states == {"waiting"})):
            yield self._summary(name, jobs)
            return
        yield Text(name, style="bold")
        for state, group in self._grouped(jobs, level):
            if len(group) > 1 and state in ("succeeded", "waiting"):
                yield self._summary(f"{len(group)} jobs", group)
            else:
                for job in group:
                    yield from self._job(job, is_short=level >= LEVELS)

    @staticmethod
    def _grouped(jobs: list[JobRow], level: int) -> Iterator[tuple[str, list[JobRow]]]:
        """Jobs one by one; at the highest level, adjacent jobs of the same state together."""
        group: list[JobRow] = []
        for job in jobs:
            if group and (level < LEVELS or group[-1].state != job.state):
                yield group[-1].state, group
                group = []
            group.append(job)
        if group:
            yield group[-1].state, group

    def _summary(self, name: str, jobs: list[JobRow]) -> Text:
        state = jobs[0].state
        line = Text.assemble((f"  {MARKS[state]} ", STYLES[state]), name)
        took = duration(sum(job.seconds or 0.0 for job in jobs)) if state == "succeeded" else state
        return line.append(f"  {took}", "dim")

    def _job(self, job: JobRow, *, is_short: bool) -> Iterator[Text]:
        style = STYLES.get(job.state, "")
        mark = self._spinner() if job.state == "running" else MARKS.get(job.state, "?")
        line = Text.assemble((f"  {mark} ", style))
        line.append(set_cell_size(one_line(job.meta_name), self._name_width), "dim" if job.state == "waiting" else "")
        if self._hook_width:
            line.append(" " + set_cell_size(hook(job), self._hook_width), "dim")
        line.append(f" {duration(self._seconds(job)):>8}")
        line.append(f"  {warmth(job.warm):<4}  ", "yellow" if job.warm else "dim")
        bar, series = self._snapshot.bar(job), self._snapshot.series(job)
        if (job.state == "running" or (job.state == "waiting" and bar)) and not is_short:
            yield line.append(one_line(job.reason), "dim")
            yield from (self._indented(each) for each in (self._bar(bar), self._series(series)) if each)
        else:
            yield line.append_text(self._note(job, bar, series))

    def _note(self, job: JobRow, bar: ProgressBar | None, series: Series | None) -> Text:
        """The end of a job's line."""
        if job.error and job.state in ("failed", "cancelled"):
            return Text(one_line(job.error), style=STYLES[job.state])
        if job.state == "waiting":
            return Text(one_line(job.reason), style="dim")
        return self._series(series, min(SPARK_WIDTH, self._rest - 20)) or self._bar(bar) or Text("")

    def _bar(self, bar: ProgressBar | None) -> Text | None:
        if bar is None:
            return None
        line = Text()
        if bar.total:
            done = min(1.0, max(0.0, bar.done / bar.total))
            filled = round(done * BAR_WIDTH)
            line.append("━" * filled, "cyan").append("━" * (BAR_WIDTH - filled), "bright_black")
            line.append(f" {done:4.0%}  ").append(f"{value(bar.done)}/{value(bar.total)}", "dim")
        else:
            start = int(self._now * FRAMES_A_SECOND) % BAR_WIDTH
            line.append("━" * start, "bright_black").append("━", "cyan")
            line.append("━" * (BAR_WIDTH - start - 1), "bright_black").append(f"  {value(bar.done)}")
        if bar.unit:
            line.append(f" {one_line(bar.unit)}", "dim")
        return line.append(f"  {one_line(bar.label)}")

    def _series(self, series: Series | None, width: int = BAR_WIDTH) -> Text | None:
        if series is None or not series.values:
            return None
        line = Text.assemble((f"{series.name} ", "dim"))
        if width >= 4:
            line.append(sparkline(series.values, width), "magenta").append(" ")
        return line.append(value(series.last), "bold").append(f"  step {series.step:,}", "dim")

    def _indented(self, line: Text) -> Text:
        return Text("      ").append_text(line)

    def _spinner(self) -> str:
        return FRAMES[int(self._now * FRAMES_A_SECOND) % len(FRAMES)]

    def _seconds(self, job: JobRow) -> float | None:
        if job.state == "running" and job.started is not None:
            return max(0.0, self._now - job.started)
        return job.seconds


def hook(job: JobRow) -> str:
    """The hook's name without its suffix."""
    return one_line(job.hook).removesuffix("Hook")
