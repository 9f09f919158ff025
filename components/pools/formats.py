"""The file formats of pools, and the names that pools go by."""

from __future__ import annotations

import os
from pathlib import Path

from sandbox_actors.errors import ComponentFailed

JSONL = ".jsonl"
GZIP = ".jsonl.gz"
ZSTD = ".jsonl.zst"
PARQUET = ".parquet"

FORMATS = {
    ".jsonl": JSONL,
    ".json": JSONL,
    ".jsonl.gz": GZIP,
    ".json.gz": GZIP,
    ".jsonl.zst": ZSTD,
    ".json.zst": ZSTD,
    ".parquet": PARQUET,
}
"""What a pool is written as, by the end of its name. A `.json` file holds an array of samples, or a sample a line."""


def format_of(path: str) -> str:
    """The format that the end of a file's name says. Raises ComponentFailed for any other end."""
    ends = [end for end in FORMATS if path.lower().endswith(end)]
    if not ends:
        raise ComponentFailed(f"{path}: a pool is a file that ends in {', '.join(FORMATS)}, or a folder of such files")
    return FORMATS[max(ends, key=len)]


def name_of(path: str) -> str:
    """What a pool is called, and its outputs after it: the last part of its path, without the end of a format."""
    name = os.path.basename(os.path.normpath(path))
    ends = [end for end in FORMATS if name.lower().endswith(end)]
    return name[: -len(max(ends, key=len))] if ends else name


def files_of(path: str) -> list[str]:
    """The files of a pool: itself, or those in the folder, which are the parts of a sharded export, by name.

    A file of statistics only (`<name>_stats.jsonl`), which Data-Juicer puts beside its exports, is none of the parts,
    nor is a hidden file. Raises ComponentFailed for a folder that holds no part, or a file of another kind.
    """
    if not os.path.isdir(path):
        return [path]
    names = sorted(entry.name for entry in Path(path).iterdir() if entry.is_file() and not entry.name.startswith("."))
    parts = [name for name in names if not name.endswith("_stats.jsonl")]
    if not parts:
        raise ComponentFailed(f"{path}: there is no pool in this folder; parts end in {', '.join(FORMATS)}")
    if passed_over := sorted(set(names) - set(parts)):
        print(f"{path}: {', '.join(passed_over)} holds statistics only and is not one of the parts")
    return [os.path.join(path, name) for name in parts]


def common_format(formats: list[str], paths: list[str]) -> str:
    """What samples of several pools are written as: their format, plain lines where lines are packed differently.

    Raises ComponentFailed where lines and parquet meet: neither can be written as the other without loss.
    """
    if len(set(formats)) == 1:
        return formats[0]
    if PARQUET in formats:
        lines = next(path for path, each in zip(paths, formats, strict=True) if each != PARQUET)
        table = paths[formats.index(PARQUET)]
        raise ComponentFailed(f"{lines} is JSON lines and {table} is parquet: pools that meet have to be of one kind")
    return JSONL


def common_prefix(paths: list[str], default: str) -> str:
    """The longest common beginning of the pools' names, character by character; `default` where there is none."""
    names = [name_of(path) for path in paths]
    first, last = min(names), max(names)  # what these two share, all names between them share
    length = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length] or default
