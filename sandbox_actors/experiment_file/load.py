"""Loads an experiment file, and finds everything that is wrong with it before anything runs.

loaded = load_experiment("sandbox.yaml", ["baseline.train.extra_configs.max_steps=50"], catalogue)
definition = freeze(loaded.require())
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sandbox_actors.errors import ConfigError, Problem
from sandbox_actors.experiment.model import Experiment
from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.experiment_file.checks.all import check
from sandbox_actors.experiment_file.document import read_document
from sandbox_actors.experiment_file.draft import draft_experiment
from sandbox_actors.experiment_file.key_path import join_path
from sandbox_actors.experiment_file.overrides import apply_overrides
from sandbox_actors.experiment_file.source import Source
from sandbox_actors.protocol.secrets import ADVICE, find_secrets, without_secrets


@dataclass(frozen=True)
class Loaded:
    """`experiment` is None exactly when there are `errors`."""

    experiment: Experiment | None
    errors: list[Problem]
    warnings: list[Problem]

    def require(self) -> Experiment:
        """The experiment. Raises ConfigError with all the errors if there are any."""
        if self.experiment is None:
            raise ConfigError(self.errors)
        return self.experiment


def load_experiment(path: str, overrides: Iterable[str] = (), catalogue: Catalogue | None = None) -> Loaded:
    """Reads and checks an experiment file and the files it names. Relative paths are from the current folder.

    `overrides` are settings such as `pipeline.meta_name.extra_configs.key=value`, applied before anything is checked.
    Component types, operators and envs are checked against `catalogue`; without one, only the built-in hooks are.
    """
    source = Source(path)
    source.include_jobs()
    apply_overrides(source, overrides)
    source.include_jobs()  # an override may name the file of a job
    source.include_configs()
    draft = draft_experiment(source)
    check(draft, source, catalogue or Catalogue())
    errors, warnings = _shown(draft.errors), _shown(draft.warnings)
    return Loaded(None if errors else draft.experiment, errors, warnings)


def _shown(problems: Iterable[Problem]) -> list[Problem]:
    """Each once, and without the secrets that they quote."""
    masked = (Problem(*map(without_secrets, (each.file, each.path, each.message))) for each in problems)
    return list(dict.fromkeys(masked))


def read_config(path: str, cwd: str) -> dict[str, Any]:
    """The config in a file that is read when its job starts. Raises ConfigError, for a secret in it too: the config is
    written to the record of the run."""
    document = read_document(os.path.join(cwd, os.path.expanduser(path)))
    if document.errors:
        raise ConfigError(document.errors)
    if not isinstance(document.value or {}, dict):
        raise ConfigError([Problem(document.file, "", "must contain a mapping")])
    if secrets := list(find_secrets(document.value)):
        raise ConfigError([Problem(document.file, join_path(keys), ADVICE) for keys in secrets])
    return document.value or {}
