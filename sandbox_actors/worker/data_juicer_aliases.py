"""Makes components written for Data-Juicer Sandbox run unchanged where it is not installed: the modules from which they
import their base classes are provided here, with the base classes of this project."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = "data_juicer_sandbox"
BASES = {
    "model_executors": "BaseModelExecutor",
    "evaluators": "BaseEvaluator",
    "data_pool_manipulators": "BaseDataPoolManipulator",
    "hooks": "BaseHook",
}
"""The base class in each of its modules."""


class DataJuicerAliases(MetaPathFinder, Loader):
    """Must be the last finder, so that an installed Data-Juicer Sandbox takes precedence."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if fullname == PACKAGE or (package == PACKAGE and name in BASES):
            return ModuleSpec(fullname, self, is_package=fullname == PACKAGE)
        return None

    def exec_module(self, module: ModuleType) -> None:
        base = BASES.get(module.__name__.rpartition(".")[2])
        if base is not None:
            setattr(module, base, getattr(importlib.import_module("components.base"), base))
