"""The datasets of an inference: the requests made of them, and the exported datasets."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from components.data.jsonl import stem
from components.inference.functions import Messages, conversations, function_named
from components.inference.samples import Sample, read_samples, with_fields, with_value
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem
from sandbox_actors.files import user_path


class Prompts:
    """The two functions of a config, and the arguments that both get after the sample."""

    def __init__(self, build: str, parse: str, arguments: Mapping[str, Any]) -> None:
        self._build_name, self._parse_name, self._arguments = build, parse, dict(arguments)
        self._build = function_named(build, "build_messages_func")
        self._parse = function_named(parse, "parse_output_func")

    def ask(self, sample: Sample, path: Path) -> tuple[list[Messages], bool]:
        """The conversations for a sample, and whether it is a single one, not a list. Raises ComponentFailed."""
        try:
            return conversations(self._build(sample.item, **self._arguments))
        except Exception as error:  # a user's function may raise anything
            reason = f"there is no key {error}" if isinstance(error, KeyError) else _describe(error)
            raise ComponentFailed(
                f"{path}, line {sample.number}: {self._build_name} cannot make messages of it: {reason}. Its keys are "
                f"{', '.join(sample.item) or 'missing'}; `func_kwargs` can name the keys to use"
            ) from error

    def parse(self, output: Any, sample: Sample) -> Any:
        """The value that is recorded. Raises ValueError with the reason if there is none."""
        try:
            value = self._parse(output, sample.item, **self._arguments)
            json.dumps(value)
        except Exception as error:
            raise ValueError(f"{self._parse_name}: {_describe(error)}") from error
        return value


class Answers(Protocol):
    """The outputs so far, by the number of the request."""

    def __contains__(self, number: int) -> bool: ...
    def __getitem__(self, number: int) -> Any: ...


class Answered(NamedTuple):
    """A line of the export, and the answer in it. A missing answer is null, with the reason in the sample's field
    `<key>_error`."""

    text: str
    value: Any
    is_missing: bool


class InferDataset:
    """A dataset. It is read once when it is made, so that every error in it is reported before a model is asked.

    `samples` and `requests` count; a sample has a request for each conversation. `digest` is that of the samples and
    of what is asked about them.
    """

    def __init__(self, path: Path, export: Path, prompts: Prompts) -> None:
        self.path, self.export, self._prompts = path, export, prompts
        self._shapes = array(
            "q"
        )  # by sample: the number of its conversations, -1 for a single one that is not in a list
        digest = hashlib.sha256()
        for sample in read_samples(path):
            asked, is_single = prompts.ask(sample, path)
            self._shapes.append(-1 if is_single else len(asked))
            digest.update(
                f"{sample.text}\n{json.dumps(asked, sort_keys=True, default=str)}\n".encode("utf-8", "replace")
            )
        self.digest = digest.hexdigest()
        self.samples = len(self._shapes)
        self.requests = sum(abs(shape) for shape in self._shapes)

    def ask(self) -> Iterator[Messages]:
        """The conversations of all samples, in their order."""
        for sample in read_samples(self.path):
            yield from self._prompts.ask(sample, self.path)[0]

    def answered(self, answers: Answers, failures: Mapping[int, str], path: Sequence[str]) -> Iterator[Answered]:
        """The samples in order, with their answers at the keys `path`."""
        first = 0
        for sample, shape in zip(read_samples(self.path), self._shapes, strict=True):
            numbers = range(first, first + abs(shape))
            first += abs(shape)
            before = json.dumps(sample.item)
            values, reasons = [], []
            for number in numbers:
                value, reason = self._value(number, answers, failures, sample)
                values.append(value)
                reasons += [reason] if reason else []
            value = values[0] if shape == -1 else values
            text = with_fields(sample.text, _changed(before, sample.item))
            text = with_value(text, path, value)
            if reasons or f"{path[-1]}_error" in sample.item:
                text = with_fields(text, {f"{path[-1]}_error": reasons[0] if reasons else None})
            yield Answered(text, value, bool(reasons))

    def _value(self, number: int, answers: Answers, failures: Mapping[int, str], sample: Sample) -> tuple[Any, str]:
        if number not in answers:
            return None, failures.get(number, "the model was not asked")
        try:
            return self._prompts.parse(answers[number], sample), ""
        except ValueError as error:
            return None, str(error)


def plan_datasets(dataset_path: str | Sequence[str], export_path: str, prompts: Prompts) -> list[InferDataset]:
    """The datasets, and where each is exported: `<export_path>/<name>_inference.jsonl`; datasets with equal
    names keep the subfolders that distinguish them. Raises ConfigError for missing files, ComponentFailed."""
    names = [dataset_path] if isinstance(dataset_path, str) else list(dataset_path)
    paths = [user_path(name).absolute() for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if not path.is_file()]
    if missing or not names:
        what = f"not found from {Path.cwd()}: {', '.join(missing)}" if missing else "names no dataset"
        raise ConfigError([Problem("inference", "dataset_path", what)])
    folder = user_path(export_path).absolute()
    exports = [folder / f"{stem(path)}_inference.jsonl" for path in paths]
    if len(set(exports)) < len(exports):
        common = Path(os.path.commonpath([path.parent for path in paths]))
        exports = [folder / path.relative_to(common).with_name(f"{stem(path)}_inference.jsonl") for path in paths]
    if len(set(exports)) < len(exports):
        twice = next(name for name, export in zip(names, exports, strict=True) if exports.count(export) > 1)
        message = f"{twice} and another dataset would both be exported to {folder}/{stem(Path(twice))}_inference.jsonl"
        raise ConfigError([Problem("inference", "dataset_path", message)])
    if overwritten := set(paths) & set(exports):
        message = f"would overwrite the dataset {overwritten.pop()}"
        raise ConfigError([Problem("inference", "export_path", message)])
    datasets = [InferDataset(path, export, prompts) for path, export in zip(paths, exports, strict=True)]
    for dataset in datasets:
        _make_folder(dataset.export.parent)
    return datasets


def _changed(before: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the parse function has changed in the sample."""
    if json.dumps(item) == before:
        return {}
    was = json.loads(before)
    return {name: value for name, value in item.items() if name not in was or was[name] != value}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([Problem("inference", "export_path", f"cannot make the folder {folder}: {error}")]) from error


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
