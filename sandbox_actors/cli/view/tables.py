"""The tables of the commands, and those at the end of a run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from sandbox_actors.cli.view.comparison import Comparison
from sandbox_actors.cli.view.live import STYLES, hook
from sandbox_actors.cli.view.recorded_envs import packages
from sandbox_actors.cli.view.refinements import ROWS, Analysis, RefinedBound
from sandbox_actors.cli.view.sparkline import sparkline
from sandbox_actors.cli.view.targets import TargetAt
from sandbox_actors.cli.view.text import duration, first_line, one_line, size, value, warmth
from sandbox_actors.protocol.rows import EnvRow, ExperimentRow, JobRow, MetricRow, PlannedJob, WorkerRow

if TYPE_CHECKING:
    from envs.inventory import BuiltEnv

SPARK_WIDTH = 16

ENV_STYLES = {"ready": "green", "building": "cyan", "unfinished": "yellow"}

Cell = str | Text


def experiments_table(rows: Sequence[ExperimentRow], now: float) -> Table:
    return _table(
        ("ID", "NAME", "STATE", "JOBS", "SUBMITTED", ">DURATION", "REASON"),
        (
            (
                row.id,
                row.name,
                _state(row.state),
                f"{row.jobs_done}/{row.jobs_total}",
                minute(row.submitted),
                duration((row.finished or now) - row.started) if row.started else "",
                first_line(row.reason or row.error),
            )
            for row in rows
        ),
    )


def jobs_table(jobs: Sequence[JobRow]) -> Table:
    """A row for each job. Iteration and pipeline are left out where they are those of the row above."""
    has_iterations = len({job.iter for job in jobs}) > 1
    rows: list[tuple[Cell, ...]] = []
    before: tuple[int, str] | None = None
    for job in jobs:
        is_new = (job.iter, job.pipeline) != before
        before = job.iter, job.pipeline
        rows.append(
            (
                str(job.iter) if is_new and has_iterations else "",
                Text(one_line(job.pipeline) if is_new else "", style="bold"),
                job.meta_name,
                hook(job),
                _state(job.state),
                duration(job.seconds),
                warmth(job.warm),
                first_line(job.error or job.reason),
            )
        )
    return _table(("ITER", "PIPELINE", "JOB", "HOOK", "STATE", ">DURATION", "ACTOR", "NOTE"), rows)


def plan_table(jobs: Sequence[PlannedJob]) -> Table:
    """A row for each job that would run."""
    warm = {True: "warm", False: "cold", None: "depends on another job"}
    return _table(
        ("PIPELINE", "LIST", "JOB", "HOOK", "COMPONENT", "ENV", "ACTOR"),
        (
            (
                Text(one_line(job.pipeline) if before is None or before.pipeline != job.pipeline else "", style="bold"),
                job.list,
                job.meta_name,
                job.hook,
                job.component,
                job.env,
                warm[job.warm],
            )
            for before, job in zip([None, *jobs], jobs, strict=False)
        ),
    )


def recorded_envs_table(rows: Sequence[EnvRow]) -> Table:
    """One line an environment; which jobs ran in it is shown if there are several."""
    return _table(
        ("ENV", "MANAGER", "PYTHON", "PACKAGES", "JOBS"),
        (
            (
                row.record.name,
                row.record.manager,
                row.record.python,
                packages(row.record),
                ", ".join(row.jobs) if len(rows) > 1 else "",
            )
            for row in rows
        ),
    )


def comparison_table(comparison: Comparison) -> Table:
    rows: list[Sequence[Cell]] = [
        (Text(label, style="dim"), *cells, Text(difference, style="dim"))
        for label, cells, difference in comparison.rows
    ]
    return _table(("", *(f">{name}" for name in comparison.pipelines), ">"), rows)


def targets_table(targets: Iterable[TargetAt]) -> Table:
    """A row for each target and iteration."""
    return _table(
        ("ITER", "TARGET", ">VALUE", "MET", "NOTE"),
        (
            (
                str(each.iter),
                each.result.target,
                "" if each.result.value is None else value(each.result.value),
                Text("yes", style="green") if each.result.holds else Text("no", style="red"),
                each.result.problem,
            )
            for each in targets
        ),
    )


def refinement_table(bounds: Sequence[RefinedBound]) -> Table:
    """A row for each bound: moved by STATISTIC, or unchanged, without AFTER, for the reason in NOTE."""
    has_several = len({(each.pipeline, each.job) for each in bounds}) > 1
    return _table(
        ("JOB", "OPERATOR", "BOUND", ">BEFORE", ">AFTER", ">EXCLUDES", "STATISTIC", "NOTE"),
        (
            (
                f"{each.pipeline}.{each.job}" if has_several else "",
                each.operator,
                each.parameter,
                value(each.values.get("before")),
                "" if "reason" in each.values else value(each.values.get("after")),
                _excluded(each.values.get("gone_before"), each.values.get("gone_after")),
                str(each.values.get("statistic", "")),
                str(each.values.get("reason", "")),
            )
            for each in bounds
        ),
    )


def analysis_table(analysis: Analysis) -> Table:
    """A row for each statistic."""
    return _table(
        ("STATISTIC", *(f">{row.upper()}" for row in ROWS)),
        (
            (statistic, *(value(found[row]) if row in found else "" for row in ROWS))
            for statistic, found in analysis.statistics.items()
        ),
    )


def workers_table(rows: Sequence[WorkerRow]) -> Table:
    return _table(
        ("WORKER", ">PID", "COMPONENT", "ENV", "STATE", "JOB", "MODEL", ">MEMORY", ">RUNS", ">IDLE", ">EXPIRES IN"),
        (
            (
                row.worker,
                str(row.pid),
                row.component,
                row.env,
                row.state,
                row.job,
                row.model,
                size(row.rss_bytes),
                str(row.runs),
                duration(row.idle_seconds) if row.state == "idle" else "",
                _time_left(row),
            )
            for row in rows
        ),
    )


def envs_table(rows: Sequence[tuple[BuiltEnv, Sequence[str]]]) -> Table:
    """A row for each environment, with its users. SIZE is what removing it frees."""
    return _table(
        ("NAME", "MANAGER", "STATE", ">SIZE", "LAST USED", "USED BY", "FOLDER"),
        (
            (
                env.name,
                env.manager,
                Text(env.state, style=ENV_STYLES.get(env.state, "")),
                size(env.own_bytes),
                minute(env.last_used),
                ", ".join(users),
                Path(env.path).name,
            )
            for env, users in rows
        ),
    )


def metrics_table(rows: Sequence[MetricRow]) -> Table:
    """A row for each metric of a job: its newest value, and the course of a series."""
    grouped: dict[tuple[str, str, str], list[MetricRow]] = {}
    for row in rows:
        grouped.setdefault((row.pipeline, row.job, row.name), []).append(row)
    return _table(
        ("PIPELINE", "JOB", "METRIC", ">POINTS", ">VALUE", ">STEP", "TREND"),
        (
            (
                *names,
                str(len(points)),
                value(points[-1].value),
                "" if points[-1].step is None else f"{points[-1].step:,}",
                Text(sparkline(numbers_of(points), SPARK_WIDTH), style="magenta"),
            )
            for names, points in grouped.items()
        ),
    )


def points_table(rows: Sequence[MetricRow]) -> Table:
    """A row for each point."""
    has_iterations = len({row.iter for row in rows}) > 1
    return _table(
        ("ITER", "PIPELINE", "JOB", "METRIC", ">STEP", ">VALUE"),
        (
            (
                str(row.iter) if has_iterations else "",
                row.pipeline,
                row.job,
                row.name,
                "" if row.step is None else str(row.step),
                str(row.value),
            )
            for row in rows
        ),
    )


def minute(moment: float) -> str:
    """A time in Unix seconds as local date and time; empty for 0, which means never."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) if moment else ""


def numbers_of(points: Iterable[MetricRow]) -> list[float]:
    """The values of a series."""
    return [float(row.value) for row in points if isinstance(row.value, (int, float)) and row.step is not None]


def _time_left(row: WorkerRow) -> str:
    """How long an idle worker will be kept."""
    if row.state != "idle":
        return ""
    if row.keep_alive_seconds is None:
        return "never"
    return duration(max(0.0, row.keep_alive_seconds - row.idle_seconds))


def _excluded(before: int | None, after: int | None) -> str:
    """How many samples a bound excludes, before and after it was moved."""
    if before is None or after is None or before == after:
        return "" if after is None else value(after)
    return f"{value(before)} → {value(after)}"


def _state(state: str) -> Text:
    return Text(state, style=STYLES.get(state, ""))


def _table(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    """A heading that starts with `>` means a column of numbers; a column without any entry is left out."""
    cells = [[Text(one_line(each)) if isinstance(each, str) else each for each in row] for row in rows]
    kept = [place for place, heading in enumerate(headings) if not cells or any(row[place].plain for row in cells)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place in kept:
        heading = headings[place]
        is_number = heading.startswith(">")
        table.add_column(Text(heading.removeprefix(">")), justify="right" if is_number else "left", no_wrap=is_number)
    for row in cells:
        table.add_row(*(row[place] for place in kept))
    return table
