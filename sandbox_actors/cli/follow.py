"""Following an experiment to its end, and printing the outcome: tables to stdout, failures to stderr."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from sandbox_actors.cli.exit_status import FAILED, INTERRUPTED, SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.comparison import compare
from sandbox_actors.cli.view.live import STYLES
from sandbox_actors.cli.view.refinements import analyses, refined_bounds
from sandbox_actors.cli.view.snapshot import Snapshot
from sandbox_actors.cli.view.tables import analysis_table, comparison_table, jobs_table, refinement_table, targets_table
from sandbox_actors.cli.view.targets import targets_of
from sandbox_actors.cli.view.text import clock, one_line
from sandbox_actors.client.client import Client
from sandbox_actors.protocol.rows import ExperimentDetail, JobRow


def follow(client: Client, screen: Screen, experiment: str, event: str = "") -> int:
    """Show `experiment` until it ends, print the outcome, and return the exit status. Ctrl-C leaves it running.

    `event` says in the JSON output what the command did before.
    """
    if screen.is_json and event:
        screen.document({"event": event, "experiment": experiment})
    elif screen.is_quiet and not screen.is_json:
        screen.data(experiment)
    try:
        with screen.follower() as follower:
            for changed in client.follow(experiment):
                follower.show(changed)
    except KeyboardInterrupt:
        screen.note(
            f"detached: experiment {experiment} continues; `sandbox watch {experiment}` attaches again, "
            f"`sandbox cancel {experiment}` cancels it"
        )
        return INTERRUPTED
    detail = client.show(experiment)
    if screen.is_json:
        screen.document(json_forms.finished(detail))
    elif not screen.is_quiet:
        print_outcome(screen, follower.snapshot, detail)
    if not screen.is_json:
        note_failures(screen, detail)
    return SUCCEEDED if detail.experiment.state == "succeeded" else FAILED


def print_outcome(screen: Screen, snapshot: Snapshot, detail: ExperimentDetail) -> None:
    """The jobs, the targets of each iteration, the refined bounds, and the pipelines side by side."""
    screen.picture(_headline(detail), Text(""), jobs_table(detail.jobs))
    targets = list(targets_of(detail))
    if targets:
        screen.picture(Text(""), targets_table(targets))
    bounds = refined_bounds(snapshot.results())
    if bounds:
        screen.picture(Text(""), refinement_table(bounds))
    comparison = compare(snapshot.pipelines(), snapshot.results())
    if comparison.rows:
        screen.picture(Text(""), comparison_table(comparison))


def print_analyses(screen: Screen, snapshot: Snapshot) -> None:
    """The statistics of analyses, and the paths of their datasets, tables and plots."""
    for analysis in analyses(snapshot.results()):
        heading = Text.assemble((one_line(f"{analysis.pipeline}.{analysis.job}"), "bold"))
        screen.picture(Text(""), heading, analysis_table(analysis))
        for what, path in analysis.files.items():
            plots = len(list(Path(path).glob("*.png"))) if what == "analysis" else 0
            suffix = f"  ({plots} plots)" if plots else ""
            screen.data(f"{what:<10}{path}{suffix}")


def note_failures(screen: Screen, detail: ExperimentDetail) -> None:
    """The complete error of each failed job, and what to do next."""
    experiment = detail.experiment
    failed = [job for job in detail.jobs if job.state == "failed"]
    for job in failed:
        screen.note(f"\n{_full_name(job)} failed:\n{job.error.strip()}")
        if job.log:
            screen.note(f"full log: `sandbox logs {experiment.id} {_full_name(job)}`")
    if experiment.error and not any(job.error and job.error in experiment.error for job in failed):
        screen.note(f"\n{experiment.error.strip()}")
    if experiment.state in ("failed", "cancelled"):
        screen.note(f"`sandbox resume {experiment.id}` continues at the first job that has not succeeded")


def _headline(detail: ExperimentDetail) -> Text:
    row = detail.experiment
    line = Text.assemble((one_line(row.name) or "experiment", "bold"), "  ", (row.state, STYLES.get(row.state, "")))
    facts = [f"experiment {row.id}"]
    if row.started and row.finished:
        facts.append(clock(row.finished - row.started))
    if len(detail.iterations) > 1:
        facts.append(f"{len(detail.iterations)} iterations")
    return line.append(f"  {' · '.join(facts)}", "dim")


def _full_name(job: JobRow) -> str:
    return one_line(f"{job.pipeline}.{job.meta_name}")
