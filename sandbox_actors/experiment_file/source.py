"""An experiment file and every file it names, as one document that remembers where each part came from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from sandbox_actors.dotted import put
from sandbox_actors.errors import Problem
from sandbox_actors.experiment.job_configs import CONFIGS, is_placeholder
from sandbox_actors.experiment.model import ANONYMOUS
from sandbox_actors.experiment.written_paths import WrittenPaths
from sandbox_actors.experiment_file import missing_paths
from sandbox_actors.experiment_file.document import Document, read_document
from sandbox_actors.experiment_file.reader import Path
from sandbox_actors.experiment_file.schema import FILE_LISTS

Entry = tuple[Path, str, Any]
"""Where a job stands in the document, the name of its pipeline, and what stands there."""

_SUFFIXES = (".yaml", ".yml", ".json")


class Source:
    """`value` is the document, right or wrong; `errors` and `warnings` are what reading the files brought up."""

    def __init__(self, file: str) -> None:
        self._documents: dict[str, Document] = {}
        self._included: dict[Path, Document] = {(): self._read(file)}
        self._overridden: dict[Path, str] = {}
        self.file = file
        self.value: Any = self._included[()].value
        self.errors: list[Problem] = list(self._included[()].errors)
        self.warnings: list[Problem] = list(self._included[()].warnings)

    def problem(self, path: Path, message: str) -> Problem:
        """`message` about what lies at `path` of the document, told by the file, key and line that it came from."""
        for length in range(len(path), -1, -1):
            if path[:length] in self._overridden:
                return Problem("--set", self._overridden[path[:length]], message)
            if path[:length] in self._included:
                document, rest = self._included[path[:length]], path[length:]
                line = document.line(rest)
                where = "" if line is None else f" (line {line})"
                return Problem(document.file, ".".join(map(str, rest)), message + where)
        raise AssertionError("the experiment file itself is always included")

    def pipelines(self) -> Iterator[tuple[Path, str, Any]]:
        """Where each pipeline stands, its name, and its job lists; what is no pipeline is passed over."""
        if not isinstance(self.value, dict):
            return
        named = self.value.get("pipelines")
        if isinstance(named, dict):
            for name, lists in named.items():
                yield ("pipelines", name), name, lists
        elif isinstance(named, list):
            for index, each in enumerate(named):
                for name, lists in each.items() if isinstance(each, dict) else ():
                    yield ("pipelines", index, name), name, lists
        if not named:
            yield (), ANONYMOUS, self.value

    def jobs(self) -> Iterator[Entry]:
        """Every job entry, in the order in which they run."""
        for path, name, lists in self.pipelines():
            for key in FILE_LISTS.values():
                entries = lists.get(key) if isinstance(lists, dict) else None
                for index, entry in enumerate(entries if isinstance(entries, list) else ()):
                    yield (*path, key, index), name, entry

    def include_jobs(self) -> None:
        """Reads the files of jobs that are given by their path."""
        for path, _, entry in list(self.jobs()):
            if isinstance(entry, str):
                self.include(path)

    def include_configs(self) -> None:
        """Reads the files of configs; not those that an earlier job will write, or that something else replaces."""
        written = WrittenPaths()
        for path, _, entry in list(self.jobs()):
            if isinstance(entry, dict):
                for config_path in _config_paths(entry):
                    self._include_config((*path, *config_path), written)
                for config in (*CONFIGS, "local"):
                    written.add(self._at((*path, config)))
        if isinstance(self._at(("hpo_config",)), str):
            self.include(("hpo_config",))
        envs = self.value.get("envs") if isinstance(self.value, dict) else None
        for name, spec in envs.items() if isinstance(envs, dict) else ():
            if isinstance(spec, str) and (os.sep in spec or spec.endswith(_SUFFIXES)):
                self.include(("envs", name))

    def include(self, path: Path) -> None:
        """Puts what the file named at `path` says in place of its name, which stays if the file cannot be read."""
        file = self._at(path)
        document = self._read(file)
        if not document.errors and not isinstance(document.value or {}, dict):
            document.errors.append(Problem(file, "", "must hold a mapping"))
        if document.errors == [Problem(file, "", "no such file")]:
            found = [self.problem(path, f"there is no file {file!r}{missing_paths.hint(file, self.file)}")]
        else:
            found = document.errors
        self.errors += [problem for problem in found if problem not in self.errors]
        self.warnings += [problem for problem in document.warnings if problem not in self.warnings]
        if not document.errors:
            self._replace(path, document.value or {})
            self._included[path] = document

    def assign(self, path: Path, keys: Sequence[str], value: Any, name: str) -> None:
        """Puts `value` at `keys` below `path`, reading the files on the way. Raises ContextError where it cannot.

        Problems found with the value later are told under `name`.
        """
        rest = list(keys)
        while rest:
            here = self._at(path)
            if isinstance(here, str) and here.endswith(_SUFFIXES):
                self.include(path)
                here = self._at(path)
            part = _step(here, rest[0])
            if part is None:
                break
            path, rest = (*path, part), rest[1:]
        self._replace(path, put(self._at(path), rest, value))
        self._overridden[(*path, *rest)] = name

    def _include_config(self, path: Path, written: WrittenPaths) -> None:
        file = self._at(path)
        if not isinstance(file, str) or is_placeholder(file):
            return
        if not file:
            self._replace(path, None)
        elif not written.makes(file):
            self.include(path)

    def _at(self, path: Path) -> Any:
        value = self.value
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int):
                value = value[part]
            else:
                return None
        return value

    def _replace(self, path: Path, value: Any) -> None:
        self.value = _replaced(self.value, path, value)

    def _read(self, file: str) -> Document:
        if file not in self._documents:
            self._documents[file] = read_document(os.path.expanduser(file))
        return self._documents[file]


def _config_paths(job: dict[str, Any]) -> Iterator[Path]:
    """Where the job's configs stand that are worth reading: not those that `input` or `local` replaces whole."""
    inputs, local = job.get("input"), job.get("local")
    for config in CONFIGS:
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


def _replaced(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    if isinstance(value, list):
        return [_replaced(each, path[1:], new) if index == path[0] else each for index, each in enumerate(value)]
    return {**value, path[0]: _replaced(value.get(path[0]), path[1:], new)}
