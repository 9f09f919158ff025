"""Takes the arguments of vLLM's documented interface and no others, and echoes. It proves what is asked of vLLM, not
what vLLM would answer."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SamplingParams:
    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: Any = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    skip_special_tokens: bool = True


@dataclass(frozen=True)
class CompletionOutput:
    text: str
    token_ids: list[int]


@dataclass(frozen=True)
class RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput] = field(default_factory=list)


class LLM:
    def __init__(
        self,
        model: str,
        *,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        seed: int | None = None,
        gpu_memory_utilization: float = 0.9,
        max_model_len: int = 60,
    ) -> None:
        if os.environ.get("STAND_IN_FAILS"):
            raise RuntimeError("Failed to infer device type")
        self._limit = max_model_len
        print(f"engine of {model}: {tensor_parallel_size} {dtype} {seed}")

    def chat(
        self,
        messages: list[list[dict[str, Any]]],
        sampling_params: SamplingParams | None = None,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        assert isinstance(sampling_params, SamplingParams)
        print(f"{len(messages)} conversations with {sampling_params.max_tokens} {sampling_params.seed}")
        texts = [conversation[-1]["content"] for conversation in messages]
        if any(len(text) > self._limit for text in texts):
            raise ValueError(f"the prompt is longer than the maximum model length of {self._limit}")
        return [RequestOutput([1] * 3, [CompletionOutput(f"echo of {text}", [1, 2])]) for text in texts]
