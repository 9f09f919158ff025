"""The modules from which components written for Data-Juicer Sandbox import their base classes: where that is not
installed, they are those of this project, and such a component runs as it is."""

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


class Aliases(MetaPathFinder, Loader):
    """To be the last of all finders: what is installed comes first."""

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
