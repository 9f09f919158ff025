"""Imports one package from another env, without making the packages beside it importable."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def import_package(path: str) -> None:
    """Import the top-level package at the folder `path`, or the module at that file, unless it is imported already."""
    place = Path(path)
    name = place.stem if place.is_file() else place.name
    if name in sys.modules:
        return
    module = module_from_spec(_spec(name, place))
    sys.modules[name] = module
    if module.__spec__ is not None and module.__spec__.loader is not None:
        try:
            module.__spec__.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise


def _spec(name: str, place: Path) -> ModuleSpec:
    if place.is_file():
        found = spec_from_file_location(name, place)
    elif (place / "__init__.py").is_file():
        found = spec_from_file_location(name, place / "__init__.py", submodule_search_locations=[str(place)])
    else:
        found = ModuleSpec(name, None, is_package=True)
        found.submodule_search_locations = [str(place)]
    if found is None:
        raise ImportError(f"{place} is neither a package nor a module", name=name)
    return found
