"""The file formats and the names of pools."""

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
"""The output format by the suffix of the input. A `.json` file has an array of samples, or a sample on each line."""


def format_of(path: str) -> str:
    """The format by the suffix of a file. Raises ComponentFailed for any other suffix."""
    ends = [end for end in FORMATS if path.lower().endswith(end)]
    if not ends:
        raise ComponentFailed(
            f"{path}: a pool must be a file that ends in {', '.join(FORMATS)}, or a folder of such files"
        )
    return FORMATS[max(ends, key=len)]


def name_of(path: str) -> str:
    """The name of a pool, from which outputs are named: the last part of its path, without the suffix of a format."""
    name = os.path.basename(os.path.normpath(path))
    ends = [end for end in FORMATS if name.lower().endswith(end)]
    return name[: -len(max(ends, key=len))] if ends else name


def files_of(path: str) -> list[str]:
    """The files of a pool: itself, or those in the folder, which are the parts of a sharded export, by name.

    Data-Juicer's files of statistics (`<name>_stats.jsonl`) and hidden files are skipped. Raises ComponentFailed for a
    folder without parts, or with a file of another kind.
    """
    if not os.path.isdir(path):
        return [path]
    names = sorted(entry.name for entry in Path(path).iterdir() if entry.is_file() and not entry.name.startswith("."))
    parts = [name for name in names if not name.endswith("_stats.jsonl")]
    if not parts:
        raise ComponentFailed(f"{path}: no pool in this folder; parts end in {', '.join(FORMATS)}")
    if skipped := sorted(set(names) - set(parts)):
        print(f"{path}: {', '.join(skipped)} contains only statistics and is skipped")
    return [os.path.join(path, name) for name in parts]


def common_format(formats: list[str], paths: list[str]) -> str:
    """The output format for samples of several pools: their common format, or plain lines if lines are compressed
    differently.

    Raises ComponentFailed for lines with parquet: neither can be written as the other without loss.
    """
    if len(set(formats)) == 1:
        return formats[0]
    if PARQUET in formats:
        lines = next(path for path, each in zip(paths, formats, strict=True) if each != PARQUET)
        table = paths[formats.index(PARQUET)]
        raise ComponentFailed(f"{lines} is JSON lines and {table} is parquet: pools of one job must be of one kind")
    return JSONL


def common_prefix(paths: list[str], default: str) -> str:
    """The longest common prefix of the pools' names; `default` if there is none."""
    names = [name_of(path) for path in paths]
    first, last = min(names), max(names)  # the common prefix of these two is that of all names
    length = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length] or default
