"""What experiment files may name in this installation: what `config.load_experiment` checks against."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import components
from components.factories import FACTORIES, REFINERS
from envs.specs import spec_names
from sandbox_actors.language.catalogue import Catalogue
from sandbox_actors.machine import this_machine

OPERATORS = Path(components.__file__).parent / "data" / "operators.json"


@cache
def known() -> Catalogue:
    """The component types, Data-Juicer's operators and the env specs that come with this project."""
    operators = json.loads(OPERATORS.read_text(encoding="utf-8"))
    return Catalogue(
        factories=FACTORIES, refiners=REFINERS, operators=operators, envs=spec_names(), machine=this_machine()
    )
