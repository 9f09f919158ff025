"""What experiment files may name in this installation: the `Catalogue` that `load_experiment` checks against."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

import components
from components.data.sampling import probe_of
from components.factories import FACTORIES, REFINERS
from envs.specs import MANAGERS, spec_names
from sandbox_actors.experiment_file.catalogue import Catalogue
from sandbox_actors.hooks.registry import ALL_HOOKS
from sandbox_actors.system.machine import this_machine

_Value = TypeVar("_Value")

OPERATORS = Path(components.__file__).parent / "data" / "operators.json"


@cache
def load_catalogue() -> Catalogue:
    """Everything that this project, the packages beside it and this machine have."""
    operators = json.loads(OPERATORS.read_text(encoding="utf-8"))
    return Catalogue(
        factories=FACTORIES,
        refiners=REFINERS,
        operators=operators,
        recipe=probe_of,
        hooks=_Lazy(ALL_HOOKS, lambda name: ALL_HOOKS[name].spec),
        envs=spec_names(),
        managers=_Lazy(MANAGERS, _why_unavailable),
        machine=this_machine(),
    )


class _Lazy(Mapping[str, _Value]):
    """The values of `names`, each found when it is looked up: most files use few of them."""

    def __init__(self, names: Collection[str], find: Callable[[str], _Value]) -> None:
        self._names, self._find = names, find

    def __getitem__(self, name: str) -> _Value:
        return self._find(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _why_unavailable(manager: str) -> str:
    from envs.router import ENV_ROUTER

    return ENV_ROUTER[manager]("any", env_manager=manager).why_unavailable
