"""The paths that jobs will have written when a later job starts, as far as their configs say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from sandbox_actors.experiment.job_configs import is_file_name, is_placeholder

_EXPORT_KEY = "export_path"
_OUTPUT_KEY = re.compile(r"path_\w*recipe|(output|result|save|export|work)_?(path|dir|file)s?|\w+_output_dir|output")
_ITERATION_FOLDER = re.compile(r"iter_\d+")


class WrittenPaths:
    """Collects them from configs. `export_path` gets the folder of the iteration, the other keys do not."""

    def __init__(self) -> None:
        self._exports: set[str] = set()
        self._export_folders: set[str] = set()
        self._others: set[str] = set()

    def add(self, config: Any) -> None:
        """Add what a job with this config writes."""
        for key, path in _find_strings_with_keys(config):
            normal = os.path.normpath(path)
            if key == _EXPORT_KEY:
                self._exports.add(normal)
                self._export_folders.add((os.path.dirname(normal) or ".") if is_file_name(path) else normal)
            elif _OUTPUT_KEY.fullmatch(key):
                self._others.add(normal)

    def is_written(self, path: str) -> bool:
        """Whether one of the jobs writes `path`, or into a folder that `path` is in."""
        parts = os.path.normpath(path).split(os.sep)
        for length in range(len(parts), 0, -1):
            parent = os.sep.join(parts[:length])
            if parent in self._others:
                return True
            is_iteration_folder = _ITERATION_FOLDER.fullmatch(parts[length - 1])
            if is_iteration_folder and (os.path.dirname(parent) or ".") in self._export_folders:
                return True
        return False

    def is_export_path(self, path: str) -> bool:
        """Whether `path` is the `export_path` of a job: the job writes to another one, with the iteration's folder."""
        return os.path.normpath(path) in self._exports


def find_strings(config: Any) -> Iterator[str]:
    """Every text in a config that may be a path."""
    return (text for _, text in _find_strings_with_keys(config))


def _find_strings_with_keys(config: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(config, dict):
        for name, value in config.items():
            yield from _find_strings_with_keys(value, name.rpartition(".")[2])
    elif isinstance(config, list):
        for value in config:
            yield from _find_strings_with_keys(value, key)
    elif isinstance(config, str) and config and not is_placeholder(config):
        yield key, config
