"""Inference with a model in this process, by transformers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.base import keep_imports
from components.inference.executor import InferExecutor, InferRun, Request
from components.inference.language_model import LanguageModel, LanguageModels, generation_arguments
from components.inference.settings import HuggingFaceSettings
from components.models.causal import files_of
from components.models.hub import find_model
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem

WINDOW = 64
"""Batches that are sorted by length together, so that the prompts of a batch have similar lengths and need little
padding."""

_Prompt = tuple[int, Request, list[int]]


class HuggingFaceInferExecutor(InferExecutor):
    """Generates in batches: see HuggingFaceSettings. The model is loaded once a process.

    The batches depend on the dataset only, and each has its own random state: an interrupted run that is continued
    gives the same answers as an uninterrupted one.
    """

    env = "transformers"
    model_fields = ("model", "model_params")
    settings_type = HuggingFaceSettings

    def load(self) -> LanguageModels:
        import transformers

        # transformers imports these on first access, which takes seconds.
        _ = transformers.PreTrainedModel, transformers.PreTrainedTokenizerFast, transformers.GenerationMixin
        keep_imports()
        return LanguageModels()

    def settings(self) -> HuggingFaceSettings:
        settings: HuggingFaceSettings = super().settings()
        if settings.batch_size < 1:
            raise ConfigError([Problem("inference", "batch_size", "must be at least 1")])
        generation_arguments(settings.sampling_params)
        return settings

    def identity(self, settings: HuggingFaceSettings) -> dict[str, Any]:
        folder = find_model(settings.model)
        return {
            "type": "huggingface",
            "model": [folder, files_of(Path(folder))],
            "model_params": settings.model_params,
            "sampling_params": settings.sampling_params,
            "batch_size": settings.batch_size,
            "seed": settings.seed,
        }

    async def answer(self, run: InferRun, settings: HuggingFaceSettings) -> None:
        models: LanguageModels = self.loaded or self.load()
        model = models.load(settings.model, settings.model_params)
        for batch in _batches(run, model, settings):
            self._answer(run, model, batch, settings)

    def _answer(self, run: InferRun, model: LanguageModel, batch: list[_Prompt], settings: HuggingFaceSettings) -> None:
        import torch

        seed = settings.seed + batch[0][0]
        try:
            answers = model.generate([prompt for _, _, prompt in batch], settings.sampling_params, seed)
        except torch.cuda.OutOfMemoryError as error:
            raise ComponentFailed(
                f"the GPU has too little memory for batch_size {settings.batch_size}: {error}"
            ) from error
        except (TypeError, ValueError) as error:
            raise ComponentFailed(f"transformers does not accept these sampling_params: {error}") from error
        for (_, request, prompt), answer in zip(batch, answers, strict=True):
            if not request.is_answered:
                run.answered(request, answer.text, len(prompt), answer.tokens)


def _batches(run: InferRun, model: LanguageModel, settings: HuggingFaceSettings) -> Iterator[list[_Prompt]]:
    """The batches with requests that have no answer. Prompts that are too long for the model are refused. One that
    leaves less room than the longest answer needs is a batch of its own, so that it shortens no other answers."""
    requests, size = enumerate(run.requests()), settings.batch_size
    while window := list(itertools.islice(requests, WINDOW * size)):
        roomy: list[_Prompt] = []
        tight: list[_Prompt] = []
        for place, request in window:
            prompt = model.prompt(request.messages)
            if reason := _too_long(prompt, model.limit):
                run.refused(request, reason)
            else:
                (roomy if model.has_room(prompt, settings.sampling_params) else tight).append((place, request, prompt))
        roomy.sort(key=lambda each: len(each[2]), reverse=True)
        batches = [roomy[first : first + size] for first in range(0, len(roomy), size)] + [[each] for each in tight]
        yield from (batch for batch in batches if not all(request.is_answered for _, request, _ in batch))


def _too_long(prompt: list[int], limit: int | None) -> str:
    if not prompt:
        return "the prompt is empty"
    if limit is not None and len(prompt) >= limit:
        return f"the prompt has {len(prompt)} tokens, and the model has room for {limit}, with its answer"
    return ""
