"""Perplexity of a causal language model on held-out text."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec

from components.base import BaseEvaluator, keep_imports
from components.models.causal import CausalModels
from components.models.hub import find_model
from components.models.texts import read_texts
from components.models.tokens import Tokenizers, encode
from components.struct_settings import read_settings
from sandbox_actors.errors import ComponentFailed

WHO = "the perplexity evaluator"

Count = Annotated[int, msgspec.Meta(gt=0)]


class PerplexitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """model         a folder with a model and its tokenizer, or a name on the hub
    dataset_path  jsonl, a folder with shards, or a list of these
    text_key      the key of the text (default `text`)
    block_size    tokens in a sequence (default: the model's context length)
    batch_size    blocks in a batch (default 16)
    """

    model: str
    dataset_path: str | list[str]
    text_key: str = "text"
    block_size: Count | None = None
    batch_size: Count = 16


class PerplexityEvaluator(BaseEvaluator):
    """Measures a model by how well it predicts texts; the keys of its config are those of `PerplexitySettings`.

    Texts are concatenated, each followed by the end-of-text token, and cut into blocks; every token but the first of a
    block is predicted from those before it in the block. `run` returns

    perplexity     exp(loss)
    loss           the mean negative log-likelihood of a token, in nats
    bits_per_byte  the same in bits per UTF-8 byte of the text, whose bytes are reduced by the share of the tokens
                   that were not predicted: comparable between tokenizers
    tokens         the number of predicted tokens
    """

    env = "transformers"
    settings_type = PerplexitySettings
    reads = ("model", "dataset_path")

    def load(self) -> Any:
        import torch
        import transformers

        # transformers imports these on first access, which takes seconds.
        _ = transformers.PreTrainedModel, transformers.PreTrainedTokenizerFast
        keep_imports()
        return torch, CausalModels(), Tokenizers()

    def run(self, eval_type: str, eval_obj: Any = None, **kwargs: Any) -> dict[str, float]:
        settings = read_settings(self.eval_config, PerplexitySettings, WHO)
        torch, models, tokenizers = self.loaded or self.load()
        folder = find_model(settings.model)
        tokenizer, model = tokenizers.load(folder), models.load(folder, dtype="auto")
        texts = read_texts(settings.dataset_path, settings.text_key)
        flat = encode(tokenizer, texts)
        size = settings.block_size or int(getattr(model.config, "max_position_embeddings", 1024))
        nats, tokens = 0.0, 0
        for blocks in _batches(torch, flat, size, settings.batch_size):
            nats += _surprise(torch, model, blocks)
            tokens += blocks[:, 1:].numel()
        if not tokens:
            raise ComponentFailed(f"{settings.dataset_path} contains too little text to predict")
        loss = nats / tokens
        predicted_bytes = sum(len(text.encode("utf-8")) for text in texts) * tokens / len(flat)
        return {
            "perplexity": math.exp(loss),
            "loss": loss,
            "bits_per_byte": nats / math.log(2) / predicted_bytes,
            "tokens": tokens,
        }


def _surprise(torch: Any, model: Any, blocks: Any) -> float:
    """The negative log-likelihood of all tokens of the blocks but the first of each, in nats."""
    blocks = blocks.to(model.device)
    with torch.inference_mode():
        logits = model(input_ids=blocks).logits[:, :-1].float()
        nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), blocks[:, 1:].flatten(), reduction="sum")
    return float(nats)


def _batches(torch: Any, flat: list[int], size: int, batch_size: int) -> Any:
    """Batches of whole blocks, and the rest as a shorter block."""
    whole = len(flat) // size
    blocks = torch.tensor(flat[: whole * size]).view(whole, size)
    yield from blocks.split(batch_size) if whole else ()
    rest = flat[whole * size :]
    if len(rest) > 1:
        yield torch.tensor([rest])
