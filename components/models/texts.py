"""The texts of a dataset in Data-Juicer's format."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox_actors.errors import ComponentFailed
from sandbox_actors.files import user_path

SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
"""Suffixes of the shards in a folder. Data-Juicer's files of statistics and hidden files are not shards."""

_OTHER_FORMATS = {
    ".parquet": "Parquet is not supported; export jsonl (an `export_path` that ends in .jsonl), or convert it",
    ".zst": "zstd is not supported; unpack it, or compress it with gzip",
}
"""Formats that Data-Juicer also reads or writes."""


def read_texts(dataset_path: str | list[str], text_key: str = "text") -> list[str]:
    """The texts of jsonl files, plain or gzipped, in the order of their lines; of a folder, those of its shards by
    name. Samples whose text is empty or missing are skipped.

    Raises ComponentFailed with file and line for a line that is not a sample, and for a dataset without text.
    """
    texts = [text for item in read_items(dataset_path) if isinstance(text := item.get(text_key), str) and text]
    if not texts:
        raise ComponentFailed(f"{_named(dataset_path)} contains no sample with text under {text_key!r}")
    return texts


def read_items(dataset_path: str | list[str]) -> Iterator[dict[str, Any]]:
    """The whole samples of these files. Raises ComponentFailed likewise."""
    paths = [dataset_path] if isinstance(dataset_path, str) else dataset_path
    for path in paths:
        for file in _files(user_path(path)):
            yield from _items_in(file)


def _named(dataset_path: str | list[str]) -> str:
    return dataset_path if isinstance(dataset_path, str) else ", ".join(dataset_path)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    shards = sorted(each for each in path.iterdir() if _is_shard(each.name) and each.is_file())
    if not shards:
        raise ComponentFailed(
            f"the folder {path} contains no shards of a dataset: no file in it ends in {', '.join(SUFFIXES)}"
        )
    return shards


def _is_shard(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.endswith("_stats.jsonl") and not name.startswith(".")


def _items_in(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = _unpacked(path).decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ComponentFailed(f"cannot read the dataset {path}: {error}") from error
    return (_sample(line, path, number) for number, line in enumerate(lines, start=1) if line.strip())


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix in _OTHER_FORMATS:
        raise ComponentFailed(f"cannot read the dataset {path}: {_OTHER_FORMATS[path.suffix]}")
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _sample(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        sample = json.loads(line)
    except ValueError as error:
        raise ComponentFailed(f"{path}, line {number}: not JSON: {error}") from error
    if not isinstance(sample, dict):
        raise ComponentFailed(f"{path}, line {number}: a sample must be an object, not {line[:40]}")
    return sample
