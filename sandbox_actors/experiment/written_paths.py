"""The paths that jobs will have written when a later job starts, as far as their configs tell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from sandbox_actors.experiment.job_configs import is_placeholder, names_file

_EXPORT = "export_path"
_OTHERS = re.compile(r"path_\w*recipe|(output|result|save|export|work)_?(path|dir|file)s?|\w+_output_dir|output")
_ITERATION = re.compile(r"iter_\d+")


class WrittenPaths:
    """`export_path` gets the folder of the iteration; the other keys that name what is written do not."""

    def __init__(self) -> None:
        self._exports: set[str] = set()
        self._export_folders: set[str] = set()
        self._others: set[str] = set()

    def add(self, config: Any) -> None:
        """Notes what a job with this config writes."""
        for key, path in _named_paths(config):
            normal = os.path.normpath(path)
            if key == _EXPORT:
                self._exports.add(normal)
                self._export_folders.add((os.path.dirname(normal) or ".") if names_file(path) else normal)
            elif _OTHERS.fullmatch(key):
                self._others.add(normal)

    def makes(self, path: str) -> bool:
        """Whether `path` is written by one of the jobs, or lies in a folder that one of them writes into."""
        normal = os.path.normpath(path)
        parts = normal.split(os.sep)
        for length in range(len(parts), 0, -1):
            above = os.sep.join(parts[:length])
            if above in self._others:
                return True
            if _ITERATION.fullmatch(parts[length - 1]) and (os.path.dirname(above) or ".") in self._export_folders:
                return True
        return False

    def exports(self, path: str) -> bool:
        """Whether `path` is the `export_path` of a job, which the iteration's folder then is missing from."""
        return os.path.normpath(path) in self._exports


def strings_in(config: Any) -> Iterator[str]:
    """Every text in a config that may be a path."""
    return (text for _, text in _named_paths(config))


def _named_paths(config: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(config, dict):
        for name, value in config.items():
            yield from _named_paths(value, name.rpartition(".")[2])
    elif isinstance(config, list):
        for value in config:
            yield from _named_paths(value, key)
    elif isinstance(config, str) and config and not is_placeholder(config):
        yield key, config
