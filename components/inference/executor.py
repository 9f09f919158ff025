"""The base of all inference: from datasets to requests, and from answers to exported datasets and metrics."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar

from components.base import BaseModelExecutor
from components.inference.checkpoint import Unfinished
from components.inference.datasets import InferDataset, Prompts, plan_datasets
from components.inference.functions import Messages
from components.inference.samples import write_lines
from components.inference.settings import InferSettings
from components.models.reporting import parse, say
from components.struct_settings import read_settings
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem

SERIES = ("requests_per_second", "tokens_per_second")
"""Metrics by the number of finished requests, logged every `INTERVAL` seconds."""

INTERVAL = 1.0

KEPT = "The answers so far are kept: run it again to continue from there"


@dataclass(eq=False)
class Asked:
    """A dataset during inference: the answers so far, and the reasons why others are missing."""

    dataset: InferDataset
    answers: Unfinished
    failures: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Request:
    """One conversation that the model continues. `number` is its place in its dataset."""

    asked: Asked
    number: int
    messages: Messages

    @property
    def is_answered(self) -> bool:
        return self.number in self.asked.answers


class InferRun:
    """The requests of one run, and their results."""

    def __init__(self, asked: list[Asked], max_failed_share: float) -> None:
        self._asked, self._share = asked, max_failed_share
        self.total = sum(each.dataset.requests for each in asked)
        self.taken_over = sum(each.answers.count for each in asked)
        self.done, self.failed, self.retries = self.taken_over, 0, 0
        self.prompt_tokens = self.completion_tokens = 0
        self._started = self._said = time.monotonic()
        self._said_at = (self.done, 0)
        self._bar = _tqdm()(
            total=self.total, initial=self.done, desc="inference", unit="request", delay=2, mininterval=0.2
        )

    @property
    def has_answers(self) -> bool:
        return self.done > self.failed

    def requests(self) -> Iterator[Request]:
        """All requests, in the order of the datasets."""
        for asked in self._asked:
            for number, messages in enumerate(asked.dataset.ask()):
                yield Request(asked, number, messages)

    def open_requests(self) -> Iterator[Request]:
        """The requests without an answer."""
        return (request for request in self.requests() if not request.is_answered)

    def answered(self, request: Request, output: Any, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        request.asked.answers.keep(request.number, output)
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self._advance()

    def refused(self, request: Request, reason: str) -> None:
        """Record that a request gets no answer. Raises ComponentFailed if there are too many of these."""
        request.asked.failures[request.number] = reason
        self.failed += 1
        self._advance()
        if self.failed > self._share * self.total:
            raise ComponentFailed(self._too_many(self.failed, self.total, "requests", reason))

    def retried(self, reason: str) -> None:
        """Log that an attempt failed and another follows."""
        self.retries += 1
        if self.retries <= 20 or self.retries % 100 == 0:
            _tqdm().write(f"retry {self.retries}: {reason}", file=sys.stderr)

    def export(self, path: Sequence[str], seen: Callable[[Any], None] | None = None) -> int:
        """Write all datasets with the answers at `path`, and pass each answer to `seen`. Returns how many samples have
        none; raises ComponentFailed if there are too many of these."""
        failed, reason = 0, ""
        samples = sum(each.dataset.samples for each in self._asked)

        def lines(asked: Asked) -> Iterator[str]:
            nonlocal failed, reason
            for text, value, is_missing in asked.dataset.answered(asked.answers, asked.failures, path):
                failed += is_missing
                reason = text if is_missing else reason
                if seen is not None:
                    seen(value)
                yield text
            if failed > self._share * samples:
                last = json.loads(reason).get(f"{path[-1]}_error")
                raise ComponentFailed(self._too_many(failed, samples, "samples", last))

        for asked in self._asked:
            write_lines(asked.dataset.export, lines(asked))
        return failed

    def close(self) -> None:
        self._bar.close()

    def results(self) -> dict[str, float]:
        seconds = max(time.monotonic() - self._started, 1e-9)
        answered = self.done - self.failed - self.taken_over
        return {
            "samples": sum(each.dataset.samples for each in self._asked),
            "taken_over": self.taken_over,
            "retries": self.retries,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "requests_per_second": round(answered / seconds, 3),
            "tokens_per_second": round(self.completion_tokens / seconds, 3),
        }

    def _advance(self) -> None:
        self.done += 1
        self._bar.update()
        now = time.monotonic()
        if now - self._said >= INTERVAL:
            seconds, (done, tokens) = now - self._said, self._said_at
            say(
                {
                    "step": self.done,
                    "requests_per_second": round((self.done - done) / seconds, 3),
                    "tokens_per_second": round((self.completion_tokens - tokens) / seconds, 3),
                }
            )
            self._said, self._said_at = now, (self.done, self.completion_tokens)

    def _too_many(self, failed: int, total: int, noun: str, last: str) -> str:
        return f"{failed} of {total} {noun} got no answer, and max_failed_share is {self._share:g}; the last: {last}"


class InferExecutor(BaseModelExecutor):
    """Infers with a model: returns the paths of the datasets with its answers, in the order of `dataset_path`.

    A subclass defines its settings, `identity` and `answer`.
    """

    reads = ("dataset_path",)
    settings_type: ClassVar[type[InferSettings]] = InferSettings

    def identity(self, settings: Any) -> dict[str, Any]:
        """What an answer depends on besides the request. While it is the same, the answers of an interrupted run are
        reused."""
        raise NotImplementedError(f"{type(self).__name__} must define `identity(self, settings)`")

    async def answer(self, run: InferRun, settings: Any) -> None:
        """Call `run.answered` or `run.refused` for each of `run.open_requests()`."""
        raise NotImplementedError(f"{type(self).__name__} must define `async answer(self, run, settings)`")

    def settings(self) -> Any:
        """Raises ConfigError."""
        settings = read_settings(self.model_config, self.settings_type, "inference")
        if not 0 <= settings.max_failed_share <= 1:
            raise ConfigError([Problem("inference", "max_failed_share", "must be between 0 and 1")])
        return settings

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> list[str]:
        settings = self.settings()
        prompts = Prompts(settings.build_messages_func, settings.parse_output_func, settings.func_kwargs)
        datasets = plan_datasets(settings.dataset_path, settings.export_path, prompts)
        results = await self.infer(datasets, settings, [settings.infer_res_key])
        say({"results": results})
        return [str(dataset.export) for dataset in datasets]

    async def infer(
        self,
        datasets: Sequence[InferDataset],
        settings: Any,
        path: Sequence[str],
        seen: Callable[[Any], None] | None = None,
    ) -> dict[str, float]:
        """Export the datasets with an answer at `path` in each sample, and pass each answer to `seen`. Returns metrics.

        Raises ComponentFailed; the answers so far are then kept beside the exports.
        """
        identity = self.identity(settings)
        with ExitStack() as stack:
            asked = []
            for dataset in datasets:
                unfinished = Unfinished(dataset.export, {**identity, "data": dataset.digest}, dataset.requests)
                stack.callback(unfinished.close)
                asked.append(Asked(dataset, unfinished))
            run = InferRun(asked, settings.max_failed_share)
            stack.callback(run.close)
            if run.taken_over:
                print(f"continues: {run.taken_over} of {run.total} requests were answered before")
            try:
                if run.taken_over < run.total:
                    await self.answer(run, settings)
                results = run.results()
                failed = run.export(path, seen)
            except ComponentFailed as error:
                if run.has_answers:
                    raise ComponentFailed(f"{error}. {KEPT}") from error
                raise
        for each in asked:
            each.answers.remove()
        return {**results, "failed": failed}

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if self.watcher is None:
            return
        record = parse(line)
        if isinstance(record.get("results"), dict):
            self.watcher.watch(record["results"])
        elif "step" in record:
            found = {name: record[name] for name in SERIES if name in record}
            if found:
                self.watcher.watch(found, step=int(record["step"]))


def _tqdm() -> Any:
    return importlib.import_module("tqdm").tqdm
