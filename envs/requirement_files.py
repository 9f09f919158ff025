"""Requirements as pip takes them: which ones name local folders, and what requirements files ask for."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox_actors.errors import EnvError
from sandbox_actors.files import user_path
from sandbox_actors.protocol.secrets import ADVICE, has_secret

_EDITABLE = re.compile(r"(?:-e|--editable)[\s=]+")
_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)(?:[\s=]+|(?=[./~\w]))(.+)")
_FILE_URL = re.compile(r"(?:[\w.-]+(?:\[[\w.,\s-]*\])?\s*@\s*)?file://(?:localhost)?(/[^\s;#]+)")
_COMMENT = re.compile(r"(^|\s)#.*$")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def local_path(requirement: str) -> tuple[str, bool] | None:
    """The local path that a requirement names, and whether it is installed editable; None if it names no path."""
    text, editable = _split_editable(requirement)
    if url := _FILE_URL.match(text):
        return url.group(1), editable
    if "://" in text or not (editable or text.startswith(("/", "./", "../", "~")) or text in (".", "..")):
        return None
    return text.partition("[")[0].partition(";")[0].strip(), editable


def is_editable(requirement: str) -> bool:
    return _split_editable(requirement)[1]


def absolute(requirement: str, find: Callable[[str], Path]) -> str:
    """The requirement with its local path, if it has one, replaced by `find(path)`."""
    text, editable = _split_editable(requirement)
    local = local_path(requirement)
    if local is None or "://" in text:
        return requirement.strip()
    return ("-e " if editable else "") + str(find(local[0])) + text[len(local[0]) :]


def package_name(requirement: str) -> str:
    """The normalized name of the package that is requested; empty if the requirement does not contain it."""
    found = None if local_path(requirement) else NAME.match(requirement.strip())
    return normalized(found.group()) if found else ""


def normalized(name: str) -> str:
    """The name of a package in the form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def flattened(paths: Sequence[Path | str]) -> list[str]:
    """The lines of requirements files and of those they include, without comments and with absolute paths.

    A relative path in a file is looked up beside the file, then from the current folder. EnvError if a file is missing,
    or holds a secret.
    """
    lines: list[str] = []
    seen: set[Path] = set()
    for path in paths:
        _flatten(user_path(path).resolve(), lines, seen)
    return lines


def project_name(folder: Path) -> str:
    """The name of the project in a folder; empty if only its setup.py says it."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        if name := project.get("project", {}).get("name"):
            return str(name)
    except (OSError, ValueError, AttributeError):
        pass
    setup = configparser.ConfigParser(interpolation=None)
    try:
        setup.read(folder / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return ""
    return setup.get("metadata", "name", fallback="")


def _flatten(path: Path, lines: list[str], seen: set[Path]) -> None:
    if path in seen:
        return
    seen.add(path)

    def find(relative: str) -> Path:
        named = user_path(relative)
        beside = (path.parent / named).resolve()
        return beside if beside.exists() or not named.exists() else named.resolve()

    for line in _logical_lines(path):
        include = _INCLUDE.fullmatch(line)
        if include and "://" not in include.group(2):
            target = find(include.group(2).strip())
            if include.group(1) in ("-r", "--requirement"):
                _flatten(target, lines, seen)
            else:
                if target.is_file():
                    _logical_lines(target)  # raises for a secret
                lines.append(f"-c {target}")
        else:
            lines.append(absolute(line, find))


def _logical_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvError(f"requirements file {path} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if has_secret(_COMMENT.sub("", line)):
            raise EnvError(f"requirements file {path}, line {number}: {ADVICE}")
    joined = re.sub(r"\\\r?\n", " ", text)
    return [line for line in (_COMMENT.sub("", raw).strip() for raw in joined.splitlines()) if line]


def _split_editable(requirement: str) -> tuple[str, bool]:
    text = requirement.strip()
    flag = _EDITABLE.match(text)
    return (text[flag.end() :].strip(), True) if flag else (text, False)
