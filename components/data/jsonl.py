"""Datasets with one JSON object on each line, read with the file and line number of each."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from sandbox_actors.errors import ComponentFailed, ConfigError, Problem
from sandbox_actors.files import user_path

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True)
class Line:
    """One sample: its text without the end of line, its file and the number of the line."""

    path: Path
    number: int
    text: str

    @property
    def sample(self) -> dict[str, Any]:
        """Raises ComponentFailed if the line is not a JSON object."""
        try:
            return _decode(self.text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise self.error(f"not a sample, which must be a JSON object: {error}") from error

    def error(self, message: str) -> ComponentFailed:
        return ComponentFailed(f"{self.path}, line {self.number}: {message}")


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a jsonl file, gzipped or not. Blank lines are counted and skipped.

    Raises ComponentFailed for a file that cannot be read, and for a line that is not UTF-8.
    """
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield Line(path, number, _text(path, number, line))
    except (OSError, EOFError) as error:
        raise ComponentFailed(f"cannot read the dataset {path}: {error}") from error


def _opened(path: Path) -> BinaryIO:
    if path.suffix in (".zst", ".parquet"):
        raise ComponentFailed(
            f"{path}: {path.suffix} files are not supported; export the dataset as .jsonl or .jsonl.gz"
        )
    return cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb"))


def _text(path: Path, number: int, line: bytes) -> str:
    try:
        return line.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ComponentFailed(f"{path}, line {number}: not UTF-8: {error.reason}") from error


def dataset_paths(config: Mapping[str, Any], key: str, where: str) -> list[Path]:
    """The files in `config[key]`, one path or a list of them. Raises ConfigError if one does not exist."""
    value = config.get(key)
    paths = [value] if isinstance(value, (str, os.PathLike)) else value
    if not isinstance(paths, list) or not paths or not all(isinstance(path, (str, os.PathLike)) for path in paths):
        raise ConfigError([Problem(where, key, f"must be one path or a list of paths, not {value!r}")])
    found = [user_path(path) for path in paths]
    absent = [path for path in found if not path.is_file()]
    if absent:
        raise ConfigError(
            [Problem(where, key, f"{path} is not a file (searched from {Path.cwd()})") for path in absent]
        )
    return found


def stem(path: Path) -> str:
    """The name without the suffixes of a dataset: `pool` for `pool.jsonl.gz`."""
    name = path.name.removesuffix(".gz")
    return name[: -len(Path(name).suffix)] if Path(name).suffix else name
