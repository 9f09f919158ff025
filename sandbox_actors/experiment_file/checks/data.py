"""Checks of the data that jobs read: on disk, written by an earlier job, or set by `input`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TypeAlias

from sandbox_actors.dotted import find_or_none
from sandbox_actors.experiment.job_configs import is_placeholder
from sandbox_actors.experiment.written_paths import WrittenPaths
from sandbox_actors.experiment_file import missing_paths
from sandbox_actors.experiment_file.catalogue import KnownType
from sandbox_actors.experiment_file.checks.config_view import ConfigView
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.key_path import KeyPath

_DATASET_KEY = re.compile(r"(\w+_)?dataset(_paths?|_dir)?(_\d+)?")
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_DATA_FILE = re.compile(r".*\.(jsonl?|parquet|csv|tsv|txt|arrow|ya?ml)(\.(zst|gz))?")
_WEIGHT = re.compile(r"\d+(\.\d*)?|\.\d+")

_Text: TypeAlias = tuple[KeyPath, str]
"""A text, and where it is in a config."""


class DataCheck:
    """Checks the jobs in the order in which they run: `check` of all configs of a job, then `add_written` of each."""

    def __init__(self, draft: Draft, file: str) -> None:
        self._draft = draft
        self._file = file
        self._written = WrittenPaths()
        self._exists: dict[str, bool] = {}  # a large file names the same paths again and again

    def check(self, view: ConfigView, known: KnownType | None) -> None:
        """Check the paths that a config with the type `known` reads."""
        if view.placeholder is not None:
            self._report_placeholder(view.path(), view.placeholder)
        for keys, value in _find_datasets(view.value, ()):
            self._check_value(view, keys, value, is_path=str(keys[-1]).endswith(("path", "paths", "dir")))
        for key in known.reads if known is not None else ():
            parts = key.split(".")
            is_dataset = _DATASET_KEY.fullmatch(parts[-1]) is not None
            for keys, value in _find_texts(find_or_none(view.value, parts), tuple(parts)):
                self._check_value(view, keys, value, is_path=is_dataset)

    def add_written(self, view: ConfigView) -> None:
        """Later jobs may read what a job with this config writes."""
        self._written.add(view.value)

    def _check_value(self, view: ConfigView, keys: KeyPath, value: str, is_path: bool) -> None:
        if view.is_replaced([str(key) for key in keys]) or not value:
            return
        path = view.path(keys)
        if is_placeholder(value):
            self._report_placeholder(path, value)
        elif "<" in value and ">" in value:
            self._draft.warn(path, f"{value} contains a placeholder that nothing replaces")
        elif "://" not in value:
            for each in self._find_missing(value):
                self._report_missing(path, each, is_path)

    def _report_placeholder(self, path: KeyPath, value: str) -> None:
        self._draft.error(path, f"{value} is a placeholder that no `input` and no `local` replaces")

    def _find_missing(self, value: str) -> list[str]:
        """Data-Juicer accepts several paths in one text, each after a weight: `0.5 a.jsonl 0.5 b.jsonl`."""
        if self._is_available(value):
            return []
        parts = [part for part in value.split() if not _WEIGHT.fullmatch(part)]
        paths = parts if len(parts) < len(value.split()) else [value]
        return [path for path in paths if not self._is_available(path)]

    def _is_available(self, path: str) -> bool:
        if path not in self._exists:
            self._exists[path] = missing_paths.exists(path)
        return self._exists[path] or self._written.is_written(path)

    def _report_missing(self, path: KeyPath, value: str, is_path: bool) -> None:
        if not is_path and _HUB_NAME.fullmatch(value) and not _DATA_FILE.fullmatch(value):
            self._draft.warn(path, f"there is no file or folder {value!r}; it is assumed to be a name on a hub")
        elif self._written.is_export_path(value):
            export = os.path.join(os.path.dirname(value), "iter_1", os.path.basename(value))
            self._draft.error(path, f"an earlier job writes it, but to {export!r}: use its output by `input`")
        else:
            self._draft.error(path, f"there is no file or folder {value!r}{missing_paths.suggest(value, self._file)}")


def _find_datasets(config: object, keys: KeyPath) -> Iterator[_Text]:
    """Every text below a key whose name is that of a dataset."""
    if isinstance(config, dict):
        for key, value in config.items():
            if _DATASET_KEY.fullmatch(key):
                yield from _find_texts(value, (*keys, key))
            if isinstance(value, (dict, list)):
                yield from _find_datasets(value, (*keys, key))
    elif isinstance(config, list):
        for index, value in enumerate(config):
            if isinstance(value, (dict, list)):
                yield from _find_datasets(value, (*keys, index))


def _find_texts(value: object, keys: KeyPath) -> Iterator[_Text]:
    """A text, or those in a list."""
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, list):
        for index, each in enumerate(value):
            if isinstance(each, str):
                yield (*keys, index), each
