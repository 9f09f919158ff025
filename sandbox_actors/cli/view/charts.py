"""Plots of one metric, one for each job that recorded it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view.sparkline import plot
from sandbox_actors.cli.view.tables import numbers_of, points_table
from sandbox_actors.cli.view.text import one_line, value
from sandbox_actors.protocol.rows import MetricRow

HEIGHT = 8
MAX_WIDTH = 100


def draw_metric(screen: Screen, rows: Sequence[MetricRow]) -> None:
    """Print series as plots, and single results in a table."""
    grouped: dict[tuple[int, str, str, str], list[MetricRow]] = {}
    for row in rows:
        grouped.setdefault((row.iter, row.pipeline, row.job, row.name), []).append(row)
    has_iterations = len({iter for iter, *_ in grouped}) > 1
    results: list[MetricRow] = []
    for (iter, pipeline, job, name), points in grouped.items():
        numbers = numbers_of(points)
        if len(numbers) < 2:
            results += points
            continue
        title = ".".join(one_line(each) for each in (pipeline, job, name) if each)
        screen.picture(
            *_plot(title + (f" (iteration {iter})" if has_iterations else ""), points, numbers, screen.width)
        )
    if results:
        screen.picture(points_table(results))


def _plot(title: str, points: Sequence[MetricRow], numbers: list[float], width: int) -> list[Text]:
    high, low = value(max(numbers)), value(min(numbers))
    gutter = max(len(high), len(low))
    labels = [high, *[""] * (HEIGHT - 2), low]
    pictures = plot(numbers, max(10, min(width, MAX_WIDTH) - gutter - 2), HEIGHT)
    head = Text.assemble(
        (title, "bold"), (f"  {len(numbers)} points, {value(numbers[0])} to {value(numbers[-1])}", "dim")
    )
    lines = [
        Text.assemble((f"{label:>{gutter}} ", "dim"), (line, "magenta"))
        for label, line in zip(labels, pictures, strict=True)
    ]
    first, last = (f"step {points[place].step}" for place in (0, -1))
    blanks = " " * max(1, len(pictures[0]) - len(first) - len(last))
    return [head, *lines, Text(f"{'':{gutter}} {first}{blanks}{last}", style="dim"), Text("")]
