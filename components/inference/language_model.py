"""A causal language model with its tokenizer: generates continuations of several prompts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components.inference.functions import Messages
from components.models.causal import files_of
from components.models.hub import find_model
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem

MAX_NEW_TOKENS = 512
"""The default if neither the config nor the model sets it."""

_RENAMED = {"max_tokens": "max_new_tokens", "stop": "stop_strings"}
_RANDOM = ("temperature", "top_p", "top_k", "min_p", "typical_p")
_RESERVED = ("inputs", "input_ids", "attention_mask", "num_return_sequences", "return_dict_in_generate", "streamer")


class Continuation(NamedTuple):
    text: str
    tokens: int


class LanguageModels:
    """Loads models, and keeps the last one while the next is the same. The files are compared too, because a later
    iteration may have written another model to the same folder."""

    def __init__(self) -> None:
        self._identity: Any = None
        self._model: LanguageModel | None = None

    def load(self, name: str, params: Mapping[str, Any]) -> LanguageModel:
        """The model in a folder or on the hub, on the GPU if there is one. Raises ComponentFailed."""
        folder = find_model(name)
        identity = [folder, files_of(Path(folder)), dict(params)]
        if self._model is None or identity != self._identity:
            self._model = None  # so that two models are never in memory
            self._model, self._identity = _read(folder, params), identity
        return self._model


class LanguageModel:
    """`limit`: the model's context length in tokens, None if unknown."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        text_config = model.config.get_text_config()
        self.limit: int | None = getattr(text_config, "max_position_embeddings", None)

    def prompt(self, messages: Messages) -> list[int]:
        """The tokens of a conversation, by the tokenizer's chat template; if it has none, of the contents with an empty
        line between them."""
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return list(self.tokenizer("\n\n".join(str(message["content"]) for message in messages))["input_ids"])

    @property
    def start(self) -> list[int]:
        """The token before a text, if the tokenizer has one."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return [int(token)]
        return []

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without special ones."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate(self, prompts: Sequence[list[int]], arguments: Mapping[str, Any], seed: int) -> list[Continuation]:
        """The continuation of each prompt: up to `max_new_tokens`, or as much as fits behind the longest prompt. All
        must be shorter than `limit`."""
        import torch

        longest = max(map(len, prompts))
        filling = self._filling()
        rows = [[filling] * (longest - len(prompt)) + prompt for prompt in prompts]
        seen = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        wanted = self._arguments(arguments, longest)
        torch.manual_seed(seed)
        with torch.inference_mode():
            made = self.model.generate(
                input_ids=torch.tensor(rows, device=self.model.device),
                attention_mask=torch.tensor(seen, device=self.model.device),
                pad_token_id=filling,
                **wanted,
            )
        return [self._continuation(row, filling) for row in made[:, longest:].tolist()]

    def has_room(self, prompt: list[int], arguments: Mapping[str, Any]) -> bool:
        """Whether the prompt and the longest allowed answer fit into the context."""
        return self.limit is None or len(prompt) + self._wanted(arguments)["max_new_tokens"] <= self.limit

    def _wanted(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        default = getattr(self.model.generation_config, "max_new_tokens", None) or MAX_NEW_TOKENS
        return {"max_new_tokens": default, **generation_arguments(chosen)}

    def _arguments(self, chosen: Mapping[str, Any], longest: int) -> dict[str, Any]:
        wanted = self._wanted(chosen)
        if self.limit is not None:
            wanted["max_new_tokens"] = min(wanted["max_new_tokens"], self.limit - longest)
        if "stop_strings" in wanted:
            wanted["tokenizer"] = self.tokenizer
        return wanted

    def _continuation(self, row: list[int], filling: int) -> Continuation:
        """A row up to its end token. The tokens after it are padding, and may be any."""
        ends = self.model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        count = next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
        if not ends:
            while count and row[count - 1] == filling:
                count -= 1
        return Continuation(self.tokenizer.decode(row[:count], skip_special_tokens=True), count)

    def _filling(self) -> int:
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        return 0


def generation_arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """`sampling_params` as arguments of `generate`. Temperature 0 means greedy decoding; any other temperature, and
    each other sampling argument, turns sampling on. Raises ConfigError."""
    wanted = {_RENAMED.get(name, name): value for name, value in params.items() if value is not None}
    for name in _RESERVED:
        if name in wanted:
            raise ConfigError([Problem("inference", f"sampling_params.{name}", "cannot be set in sampling_params")])
    most = wanted.get("max_new_tokens", 1)
    if not isinstance(most, int) or most < 1:
        raise ConfigError(
            [Problem("inference", "sampling_params.max_new_tokens", f"must be a number of tokens, not {most!r}")]
        )
    if wanted.get("temperature") == 0:
        wanted = {name: value for name, value in wanted.items() if name not in _RANDOM} | {"do_sample": False}
    elif any(name in wanted for name in _RANDOM):
        wanted.setdefault("do_sample", True)
    return wanted


def _read(folder: str, params: Mapping[str, Any]) -> LanguageModel:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    named = {"dtype" if name == "torch_dtype" else name: value for name, value in params.items()}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **named).eval()
    except (OSError, ValueError, TypeError) as error:
        raise ComponentFailed(f"cannot load a model and its tokenizer from {folder}: {error}") from error
    if "device_map" not in named:
        model.to("cuda" if torch.cuda.is_available() else "cpu")
    return LanguageModel(model, tokenizer)
