"""`sandbox check`. Works without a daemon."""

from __future__ import annotations

import argparse

from sandbox_actors.cli.command import OVERRIDES, argument, command
from sandbox_actors.cli.exit_status import SUCCEEDED, USAGE
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.errors import Problem
from sandbox_actors.experiment_file.load import load_experiment
from sandbox_actors.hooks.catalogue import load_catalogue


@command(argument("files", metavar="FILE", nargs="+", help="an experiment, as YAML or JSON"), OVERRIDES)
def check(options: argparse.Namespace, screen: Screen) -> int:
    errors: list[Problem] = []
    warnings: list[Problem] = []
    for file in options.files:
        loaded = load_experiment(file, options.set, load_catalogue())
        errors += loaded.errors
        warnings += loaded.warnings
        if screen.is_json or screen.is_quiet:
            continue
        for problem in loaded.errors:
            screen.data(f"error: {problem}")
        for problem in loaded.warnings:
            screen.data(f"warning: {problem}")
        if not loaded.errors:
            screen.data(f"{file}: valid")
    if screen.is_json:
        screen.document(json_forms.check(errors, warnings))
    return USAGE if errors else SUCCEEDED
