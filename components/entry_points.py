"""Components and hooks of other packages, found by their entry points in the base env; none of them is imported.

An entry point of the group `sandbox_actors.components` is named `<Factory>.<type>`, one of `sandbox_actors.hooks` like
the hook; its value is `package.module:Class`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

COMPONENTS = "sandbox_actors.components"
HOOKS = "sandbox_actors.hooks"


class Registered(NamedTuple):
    """A class, and the file or folder of its package, which the worker gets."""

    target: str
    package: str


class Registry(Mapping[str, Registered]):
    """The classes that are registered in `group` under names that begin with `prefix`, by the rest of the name. They
    are searched on access, because most experiment files use none."""

    def __init__(self, group: str, prefix: str = "") -> None:
        self._group, self._prefix = group, prefix

    def __getitem__(self, name: str) -> Registered:
        target = self._targets()[name]
        return Registered(target, _package(target.partition(":")[0].partition(".")[0]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets())

    def __len__(self) -> int:
        return len(self._targets())

    def _targets(self) -> dict[str, str]:
        from importlib.metadata import entry_points

        found = entry_points(group=self._group)
        return {
            point.name[len(self._prefix) :]: point.value.partition("[")[0].strip()
            for point in found
            if point.name.startswith(self._prefix)
        }


def _package(name: str) -> str:
    """The path of the top-level package or module `name` in this env; empty if it is not found."""
    from importlib.util import find_spec

    spec = find_spec(name)
    if spec is None:
        return ""
    return str(next(iter(spec.submodule_search_locations or ()), spec.origin or ""))
