"""Inference with vLLM, which makes the batches itself: it gets whole chunks of conversations."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from components.base import keep_imports
from components.inference.executor import InferExecutor, InferRun, Request
from components.inference.language_model import MAX_NEW_TOKENS
from components.inference.settings import VllmSettings
from components.models.causal import files_of
from components.models.hub import find_model
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem

INSTEAD = (
    "type `vllm` needs an NVIDIA GPU; type `huggingface` has the same keys and needs none; or let the job name an "
    "`env` with a build of vllm for another device"
)


class Engines:
    """Makes vLLM's engines, and keeps the last one while the next is the same."""

    def __init__(self, vllm: Any) -> None:
        self.vllm = vllm
        self._identity: Any = None
        self._engine: Any = None

    def engine(self, settings: VllmSettings) -> Any:
        """Raises ComponentFailed."""
        folder = find_model(settings.model)
        identity = [folder, files_of(Path(folder)), settings.model_params, settings.seed]
        if self._engine is None or identity != self._identity:
            self._engine = None  # the next one needs its memory
            self._engine, self._identity = self._made(folder, settings), identity
        return self._engine

    def _made(self, folder: str, settings: VllmSettings) -> Any:
        params = {"tensor_parallel_size": _gpus(), "seed": settings.seed, **settings.model_params}
        try:
            return self.vllm.LLM(model=folder, **params)
        except Exception as error:  # torch, CUDA and the engine raise anything
            message = f"vLLM cannot start with {folder}: {type(error).__name__}: {error}"
            raise ComponentFailed(message if _has_gpu() else f"{message}; {INSTEAD}") from error


class VllmInferExecutor(InferExecutor):
    """Passes whole datasets to vLLM: see VllmSettings. The engine is made once for each process and model."""

    env = "vllm"
    needs_gpu = True
    model_fields = ("model", "model_params")
    settings_type = VllmSettings

    def load(self) -> Engines:
        try:
            import vllm
        except ImportError as error:
            raise ComponentFailed(f"vLLM cannot be imported: {error}; {INSTEAD}") from error
        keep_imports()
        return Engines(vllm)

    def settings(self) -> VllmSettings:
        settings: VllmSettings = super().settings()
        if settings.chunk_size < 1:
            raise ConfigError([Problem("inference", "chunk_size", "must be at least 1")])
        if settings.sampling_params.get("n", 1) != 1:
            raise ConfigError(
                [Problem("inference", "sampling_params.n", "must be 1: each conversation gets one answer")]
            )
        return settings

    def identity(self, settings: VllmSettings) -> dict[str, Any]:
        folder = find_model(settings.model)
        return {
            "type": "vllm",
            "model": [folder, files_of(Path(folder))],
            "model_params": settings.model_params,
            "sampling_params": settings.sampling_params,
            "seed": settings.seed,
        }

    async def answer(self, run: InferRun, settings: VllmSettings) -> None:
        engines: Engines = self.loaded or self.load()
        engine = engines.engine(settings)
        wanted = {"max_tokens": MAX_NEW_TOKENS, "seed": settings.seed, **settings.sampling_params}
        try:
            sampling = engines.vllm.SamplingParams(**wanted)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                [Problem("inference", "sampling_params", f"vLLM does not accept them: {error}")]
            ) from error
        requests = run.open_requests()
        while chunk := list(itertools.islice(requests, settings.chunk_size)):
            self._answer(run, engine, chunk, sampling)

    def _answer(self, run: InferRun, engine: Any, chunk: list[Request], sampling: Any) -> None:
        """Answer a chunk. vLLM refuses a whole chunk if one of its conversations is, for instance, too long: then each
        half is tried, down to the refused conversation."""
        try:
            outputs = engine.chat([request.messages for request in chunk], sampling, use_tqdm=True)
        except ValueError as error:
            if len(chunk) == 1:
                run.refused(chunk[0], f"vLLM refuses it: {error}")
                return
            middle = len(chunk) // 2
            self._answer(run, engine, chunk[:middle], sampling)
            self._answer(run, engine, chunk[middle:], sampling)
            return
        for request, output in zip(chunk, outputs, strict=True):
            said = output.outputs[0]
            run.answered(request, said.text, len(output.prompt_token_ids or ()), len(said.token_ids))


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _gpus() -> int:
    import torch

    return max(1, int(torch.cuda.device_count()))
