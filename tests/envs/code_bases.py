"""Folders to install from."""

from __future__ import annotations

from pathlib import Path


def write_code_base(folder: Path, name: str, value: int, dependencies: str = "[]") -> Path:
    """A code base whose one module `name` has the constant `value`. Builds without a network once flit is cached."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(f'"""A module."""\n__version__ = "1.0"\nvalue = {value}\n')
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core>=3.9"]\nbuild-backend = "flit_core.buildapi"\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\ndescription = "x"\ndependencies = {dependencies}\n'
    )
    return folder
