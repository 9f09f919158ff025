"""Checks of the data that jobs read: on disk, or written by an earlier job, or put in by `input`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from sandbox_actors.dotted import find
from sandbox_actors.errors import ContextError
from sandbox_actors.experiment.job_configs import is_placeholder
from sandbox_actors.experiment.written_paths import WrittenPaths
from sandbox_actors.experiment_file import missing_paths
from sandbox_actors.experiment_file.catalogue import KnownType
from sandbox_actors.experiment_file.checks.config_view import ConfigView
from sandbox_actors.experiment_file.draft import Draft
from sandbox_actors.experiment_file.reader import Path

_DATASET = re.compile(r"(\w+_)?dataset(_paths?|_dir)?(_\d+)?")
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_DATA_FILE = re.compile(r".*\.(jsonl?|parquet|csv|tsv|txt|arrow|ya?ml)(\.(zst|gz))?")
_WEIGHT = re.compile(r"\d+(\.\d*)?|\.\d+")

Keys = list[str | int]


class DataCheck:
    """Goes over the jobs in the order in which they run."""

    def __init__(self, draft: Draft, file: str) -> None:
        self._draft = draft
        self._file = file
        self._written = WrittenPaths()
        self._there: dict[str, bool] = {}

    def check(self, view: ConfigView, known: KnownType | None) -> None:
        """The paths that a config says are read; `known` is the type it asks for."""
        for keys, value in _datasets(view.value, []):
            self._check_value(view, keys, value, is_path=str(keys[-1]).endswith(("path", "paths", "dir")))
        for key in known.reads if known is not None else ():
            keys = list(key.split("."))
            is_dataset = _DATASET.fullmatch(str(keys[-1])) is not None
            for below, value in _values_at(view, keys):
                self._check_value(view, [*keys, *below], value, is_path=is_dataset)

    def note(self, view: ConfigView) -> None:
        """Later jobs may read what a job with this config writes."""
        self._written.add(view.value)

    def _check_value(self, view: ConfigView, keys: Keys, value: str, is_path: bool) -> None:
        if view.is_replaced([str(key) for key in keys]) or not value:
            return
        path = view.path(keys)
        if is_placeholder(value):
            self._draft.error(path, f"{value} is a placeholder that no `input` and no `local` replaces")
        elif "<" in value and ">" in value:
            self._draft.warn(path, f"{value} has a placeholder in it that nothing replaces")
        elif "://" not in value:
            for each in self._missing(value):
                self._tell(path, each, is_path)

    def _missing(self, value: str) -> list[str]:
        """Data-Juicer takes several paths in one text, each with a weight before it: `0.5 a.jsonl 0.5 b.jsonl`."""
        if self._is_there(value):
            return []
        parts = [part for part in value.split() if not _WEIGHT.fullmatch(part)]
        whole = parts if len(parts) < len(value.split()) else [value]
        return [part for part in whole if not self._is_there(part)]

    def _is_there(self, path: str) -> bool:
        if path not in self._there:
            self._there[path] = missing_paths.is_there(path)
        return self._there[path] or self._written.makes(path)

    def _tell(self, path: Path, value: str, is_path: bool) -> None:
        if not is_path and _HUB_NAME.fullmatch(value) and not _DATA_FILE.fullmatch(value):
            self._draft.warn(path, f"there is no file or folder {value!r}; it is taken for a name")
        elif self._written.exports(value):
            export = os.path.join(os.path.dirname(value), "iter_1", os.path.basename(value))
            self._draft.error(path, f"an earlier job writes it, but to {export!r}: take its output by `input`")
        else:
            self._draft.error(path, f"there is no file or folder {value!r}{missing_paths.hint(value, self._file)}")


def _datasets(config: object, keys: Keys) -> Iterator[tuple[Keys, str]]:
    """Every text below a key that is called like a dataset."""
    if isinstance(config, dict):
        for key, value in config.items():
            if _DATASET.fullmatch(key):
                yield from _texts(value, [*keys, key])
            if isinstance(value, (dict, list)):
                yield from _datasets(value, [*keys, key])
    elif isinstance(config, list):
        for index, value in enumerate(config):
            if isinstance(value, (dict, list)):
                yield from _datasets(value, [*keys, index])


def _texts(value: object, keys: Keys) -> Iterator[tuple[Keys, str]]:
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, list):
        for index, each in enumerate(value):
            if isinstance(each, str):
                yield [*keys, index], each


def _values_at(view: ConfigView, keys: list[str | int]) -> Iterator[tuple[Keys, str]]:
    try:
        yield from _texts(find(view.value, [str(key) for key in keys]), [])
    except ContextError:
        return
