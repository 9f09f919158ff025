"""An experiment file and every file that it names, as one document that knows where each part came from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from sandbox_actors.dotted import put
from sandbox_actors.errors import Problem
from sandbox_actors.experiment.job_configs import is_placeholder
from sandbox_actors.experiment.model import ANONYMOUS, CONFIG_NAMES
from sandbox_actors.experiment.written_paths import WrittenPaths
from sandbox_actors.experiment_file import missing_paths
from sandbox_actors.experiment_file.document import Document, read_document
from sandbox_actors.experiment_file.key_path import KeyPath, get_at, join_path, replace_at
from sandbox_actors.experiment_file.reader import at_line
from sandbox_actors.experiment_file.schema import LIST_KEYS

Entry: TypeAlias = tuple[KeyPath, str, Any]
"""A pipeline or a job: where it is in the document, the name of the pipeline, and the value there, right or wrong."""

_SUFFIXES = (".yaml", ".yml", ".json")


class Source:
    """`value` is the document, right or wrong; `errors` and `warnings` are those of reading its files."""

    def __init__(self, file: str) -> None:
        self._documents: dict[str, Document] = {}
        self._included: dict[KeyPath, Document] = {(): self._read(file)}
        self._overridden: dict[KeyPath, str] = {}
        self.file = file
        self.value: Any = self._included[()].value
        self.errors: list[Problem] = list(self._included[()].errors)
        self.warnings: list[Problem] = list(self._included[()].warnings)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """`message` about what is at `path`, with the file, key and line that it came from."""
        for length in range(len(path), -1, -1):
            if path[:length] in self._overridden:
                return Problem("--set", self._overridden[path[:length]], message)
            if path[:length] in self._included:
                document, rest = self._included[path[:length]], path[length:]
                return Problem(document.file, join_path(rest), message + at_line(document.line(rest)))
        raise AssertionError("the experiment file itself is always included")

    def pipelines(self) -> Iterator[Entry]:
        """Every pipeline. Whatever cannot be one is left out."""
        if not isinstance(self.value, dict):
            return
        named = self.value.get("pipelines")
        if isinstance(named, dict):
            for name, value in named.items():
                yield ("pipelines", name), name, value
        elif isinstance(named, list):
            for index, each in enumerate(named):
                for name, value in each.items() if isinstance(each, dict) else ():
                    yield ("pipelines", index, name), name, value
        if not named:
            yield (), ANONYMOUS, self.value

    def jobs(self) -> Iterator[Entry]:
        """Every job, in the order in which they run."""
        for path, name, lists in self.pipelines():
            for key in LIST_KEYS.values():
                entries = lists.get(key) if isinstance(lists, dict) else None
                for index, entry in enumerate(entries if isinstance(entries, list) else ()):
                    yield (*path, key, index), name, entry

    def include_jobs(self) -> None:
        """Read the files of jobs that are given by a path."""
        for path, _, entry in list(self.jobs()):
            if isinstance(entry, str):
                self._include(path)

    def include_configs(self) -> None:
        """Read the files of configs, except those that an earlier job will write, and those that are replaced."""
        written = WrittenPaths()
        for path, _, entry in list(self.jobs()):
            if isinstance(entry, dict):
                for config_path in _config_paths(entry):
                    self._include_config((*path, *config_path), written)
                for config in (*CONFIG_NAMES, "local"):
                    written.add(get_at(self.value, (*path, config)))
        if isinstance(get_at(self.value, ("hpo_config",)), str):
            self._include(("hpo_config",))
        envs = get_at(self.value, ("envs",))
        for name, spec in envs.items() if isinstance(envs, dict) else ():
            if isinstance(spec, str) and (os.sep in spec or spec.endswith(_SUFFIXES)):
                self._include(("envs", name))

    def assign(self, path: KeyPath, keys: Sequence[str], value: Any, name: str) -> None:
        """Set `value` at `keys` below `path`, reading the files on the way. Raises ContextError if it cannot be set.

        Problems that are found with the value later are reported under `name`.
        """
        rest = list(keys)
        while rest:
            here = get_at(self.value, path)
            if isinstance(here, str) and here.endswith(_SUFFIXES):
                self._include(path)
                here = get_at(self.value, path)
            part = _step(here, rest[0])
            if part is None:
                break
            path, rest = (*path, part), rest[1:]
        self._replace(path, put(get_at(self.value, path), rest, value))
        self._overridden[(*path, *rest)] = name

    def _include(self, path: KeyPath) -> None:
        """Replace the file name at `path` by the content of the file; it stays if the file cannot be read."""
        file = get_at(self.value, path)
        document = self._read(file)
        if not document.errors and not isinstance(document.value or {}, dict):
            document.errors.append(Problem(file, "", "must contain a mapping"))
        if document.errors == [Problem(file, "", "no such file")]:
            found = [self.problem(path, f"there is no file {file!r}{missing_paths.suggest(file, self.file)}")]
        else:
            found = document.errors
        self.errors += [problem for problem in found if problem not in self.errors]
        self.warnings += [problem for problem in document.warnings if problem not in self.warnings]
        if not document.errors:
            self._replace(path, document.value or {})
            self._included[path] = document

    def _include_config(self, path: KeyPath, written: WrittenPaths) -> None:
        file = get_at(self.value, path)
        if not isinstance(file, str) or is_placeholder(file):
            return
        if not file:
            self._replace(path, None)
        elif not written.is_written(file):
            self._include(path)

    def _replace(self, path: KeyPath, value: Any) -> None:
        self.value = replace_at(self.value, path, value)

    def _read(self, file: str) -> Document:
        if file not in self._documents:
            self._documents[file] = read_document(os.path.expanduser(file))
        return self._documents[file]


def _config_paths(job: dict[str, Any]) -> Iterator[KeyPath]:
    """Where the job's configs are that may have to be read: not those that `input` or `local` replaces completely."""
    inputs, local = job.get("input"), job.get("local")
    for config in CONFIG_NAMES:
        if isinstance(inputs, dict) and config in inputs:
            continue
        if isinstance(local, dict) and config in local:
            yield "local", config
        else:
            yield (config,)


def _step(value: Any, key: str) -> str | int | None:
    if isinstance(value, dict) and key in value:
        return key
    if isinstance(value, list) and key.isdigit() and int(key) < len(value):
        return int(key)
    return None
