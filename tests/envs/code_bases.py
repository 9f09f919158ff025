"""Code bases and wheels to install."""

from __future__ import annotations

import zipfile
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


def write_wheel(folder: Path, name: str, version: str, requires: str = "") -> Path:
    """A wheel of a package whose one module `name` has the constant `version`."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return wheel
