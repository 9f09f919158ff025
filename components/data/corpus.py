"""English text from the Python installation: the language reference of `help()`, and the library's docstrings.

Cut into paragraphs, otherwise unchanged: prose, tables, signatures, code, near-empty lines and repeats, which a data
recipe can filter. Nothing is downloaded, and no module is imported: docstrings are taken from the syntax trees, in the
order of the file names, so that one interpreter always gives the same corpus.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import random
import re
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from components.base import BaseDataPoolManipulator
from sandbox_actors.errors import ConfigError, Problem
from sandbox_actors.files import write_whole

FORMAT = 1
"""Part of the digest: increase it when the corpus is made differently, so that it is made again."""

SKIPPED = frozenset(
    ("encodings", "idle_test", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tests", "turtledemo")
)
"""Folders of the library without documentation: tests, tables, programs, and installed packages."""

_BLANK_LINES = re.compile(r"\n[ \t]*\n")
_MANIFEST = "corpus.json"


class Paragraph(NamedTuple):
    """`source`: the topic or the module file of `text`."""

    text: str
    source: str


class PythonDocsCorpus(BaseDataPoolManipulator):
    """Writes `train.jsonl` and `heldout.jsonl` into the folder `export_path`; returns both paths.

    heldout  the number of distinct paragraphs to hold out (default 500); no sample equals one of them
    samples  the number of samples drawn from the others, with repeats (default: all)
    seed     of both draws (default 42); the held-out paragraphs do not depend on `samples`

    A corpus with the same settings and interpreter is reused; its manifest identifies it.
    """

    env = "plain"
    is_light = True
    required = ("export_path",)

    def run(self) -> tuple[str, str]:
        started = time.monotonic()
        folder = Path(str(self.data_pool_cfg["export_path"])).absolute()
        settings = self._settings()
        train, heldout = folder / "train.jsonl", folder / "heldout.jsonl"
        manifest = {"digest": _digest(settings), "settings": settings}
        if _is_made(folder, manifest, (train, heldout)):
            print(f"reused: {train}, {heldout}")
            return str(train), str(heldout)
        samples, aside = split(self.read(), **settings)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MANIFEST).unlink(missing_ok=True)
        _write_lines(train, samples)
        _write_lines(heldout, aside)
        files = {path.name: _file_digest(path) for path in (train, heldout)}
        write_whole(folder / _MANIFEST, json.dumps({**manifest, "files": files}, indent=2).encode() + b"\n")
        print(f"{len(samples)} samples and {len(aside)} held out, made in {time.monotonic() - started:.1f} s: {folder}")
        return str(train), str(heldout)

    def read(self) -> list[Paragraph]:
        return list(paragraphs())

    def _settings(self) -> dict[str, int | None]:
        config = self.data_pool_cfg
        settings = {"samples": config.get("samples"), "heldout": config.get("heldout", 500)}
        for name, value in settings.items():
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigError([Problem("corpus", name, f"must be a number of samples, not {value!r}")])
        return {**settings, "seed": config.get("seed", 42)}


def paragraphs() -> Iterator[Paragraph]:
    """All paragraphs: the topics of `help()`, then the library's docstrings, in the order of the file names."""
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        yield from _cut(text, name)
    library = Path(sysconfig.get_path("stdlib"))
    for path in _module_files(library):
        source = path.relative_to(library).as_posix()
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:  # a template or sample that cannot be imported
            continue
        for docstring in _docstrings(tree):
            yield from _cut(docstring, source)


def split(
    everything: list[Paragraph], samples: int | None, heldout: int | None, seed: Any
) -> tuple[list[Paragraph], list[Paragraph]]:
    """`samples` paragraphs and `heldout` others, in random order; none of the first equals one of the second."""
    chance = random.Random(f"heldout {seed}")
    different = list({paragraph.text: paragraph for paragraph in reversed(everything)}.values())[::-1]
    wanted = heldout or 0
    if wanted >= len(different):
        problem = f"{wanted} is too many: there are {len(different)} distinct paragraphs"
        raise ConfigError([Problem("corpus", "heldout", problem)])
    aside = chance.sample(different, wanted)
    texts = {paragraph.text for paragraph in aside}
    others = [paragraph for paragraph in everything if paragraph.text not in texts]
    chance = random.Random(f"samples {seed}")
    return chance.sample(others, min(samples or len(others), len(others))), aside


def _cut(text: str, source: str) -> Iterator[Paragraph]:
    writable = text.encode("utf-8", "replace").decode("utf-8")  # a docstring may hold half a surrogate pair
    return (Paragraph(piece.strip("\n"), source) for piece in _BLANK_LINES.split(writable) if piece.strip())


def _module_files(library: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(library):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


def _docstrings(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    docstring = ast.get_docstring(node, clean=False)
    if docstring:
        yield docstring
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _docstrings(child)


def _is_made(folder: Path, manifest: dict[str, Any], files: Iterable[Path]) -> bool:
    try:
        found = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        wanted = {**manifest, "files": {path.name: _file_digest(path) for path in files}}
    except (OSError, ValueError):
        return False
    return bool(found == wanted)


def _digest(settings: dict[str, Any]) -> str:
    identity = [FORMAT, sys.version, sysconfig.get_path("stdlib"), settings]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_lines(path: Path, samples: Iterable[Paragraph]) -> None:
    lines = (json.dumps(sample._asdict(), ensure_ascii=False) for sample in samples)
    write_whole(path, "".join(f"{line}\n" for line in lines).encode())
