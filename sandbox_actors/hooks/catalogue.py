"""What experiment files may name in this installation: what `config.load_experiment` checks against."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import components
from components.data.sampling import probe_of
from components.factories import FACTORIES, REFINERS
from envs.specs import MANAGERS, spec_names
from sandbox_actors.experiment.hook_specs import HookSpec
from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.hooks.registry import ALL_HOOKS
from sandbox_actors.system.machine import this_machine

OPERATORS = Path(components.__file__).parent / "data" / "operators.json"


@cache
def known() -> Catalogue:
    """The component types, Data-Juicer's operators and the env specs that come with this project."""
    operators = json.loads(OPERATORS.read_text(encoding="utf-8"))
    return Catalogue(
        factories=FACTORIES,
        refiners=REFINERS,
        operators=operators,
        recipe=probe_of,
        hooks=HookSpecs(),
        envs=spec_names(),
        managers=Managers(),
        machine=this_machine(),
    )


class HookSpecs(Mapping[str, HookSpec]):
    """The hooks, also those that others register, as far as `check` wants to know them."""

    def __getitem__(self, name: str) -> HookSpec:
        return ALL_HOOKS[name].spec

    def __iter__(self) -> Iterator[str]:
        return iter(ALL_HOOKS)

    def __len__(self) -> int:
        return len(ALL_HOOKS)


class Managers(Mapping[str, str]):
    """The env managers by name, each looked for when it is asked about: most files name none."""

    def __getitem__(self, name: str) -> str:
        from envs.router import ENV_ROUTER

        return ENV_ROUTER[name]("any", env_manager=name).why_unavailable

    def __iter__(self) -> Iterator[str]:
        return iter(MANAGERS)

    def __len__(self) -> int:
        return len(MANAGERS)

    def __contains__(self, name: object) -> bool:
        return name in MANAGERS
