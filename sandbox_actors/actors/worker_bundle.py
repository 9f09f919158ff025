"""The worker half of this project, as a folder that is handed to envs instead of being installed into them.

It holds the modules that workers may import and nothing of the base env. Its name is the digest of its contents, so
that workers of an older version keep theirs, and byte code is compiled once for each Python.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import components
from sandbox_actors.system.folders import make_private, remove_from
from sandbox_actors.system.paths import HOME_WAY_OUT

GROUND = ("__init__.py", "dotted.py", "errors.py", "files.py", "version.py")
"""Modules at the root of the core that workers and components may import."""

ENTRY = Path("sandbox_actors", "worker", "__main__.py")


def lay_out(root: Path) -> Path:
    """The bundle's folder below `root`, made if it is not there yet; safe when several daemons do it at once.

    What others could have changed until now is not used. Raises Refused, OSError.
    """
    if make_private(root, HOME_WAY_OUT):
        for each in list(root.iterdir()):
            remove_from(root, each.name)
    sources = _sources()
    digest = hashlib.sha256()
    for relative, source in sources:
        digest.update(f"{relative}\0".encode() + source.read_bytes() + b"\0")
    bundle = root / digest.hexdigest()[:16]
    if not bundle.exists():
        _copy(sources, bundle)
    return bundle


def _copy(sources: list[tuple[Path, Path]], bundle: Path) -> None:
    half_made = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=bundle.parent))
    for relative, source in sources:
        target = half_made / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    try:
        half_made.rename(bundle)
    except OSError:
        remove_from(half_made.parent, half_made.name)  # another daemon was first


def _sources() -> list[tuple[Path, Path]]:
    """What belongs to the bundle: paths in it, and where they are copied from."""
    core = Path(__file__).parents[1]
    found = [(Path("sandbox_actors", name), core / name) for name in GROUND]
    for package in (core / "protocol", core / "worker", Path(components.__file__).parent):
        base = core.parent if package.parent == core else package.parent
        found += [(path.relative_to(base), path) for path in package.rglob("*") if _is_source(path)]
    return sorted(found)


def _is_source(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"
