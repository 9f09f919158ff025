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
    text_key      where the text of a sample is (default `text`)
    block_size    tokens that the model sees at once (default: as many as it can)
    batch_size    blocks at once (default 16)
    """

    model: str
    dataset_path: str | list[str]
    text_key: str = "text"
    block_size: Count | None = None
    batch_size: Count = 16


class PerplexityEvaluator(BaseEvaluator):
    """Measures a model by how well it predicts texts; the keys of its config are those of `PerplexitySettings`.

    Texts are put one after the other, each followed by the end-of-text token, and cut into blocks; every token but
    the first of a block is predicted from those before it in the block. With the mean negative log-likelihood a token
    in nats as `loss`, `run` returns

    perplexity     exp(loss)
    loss           as said
    bits_per_byte  the same likelihood in bits, spread over the UTF-8 bytes of the text, of which the tokens that were
                   not predicted count for their share: comparable between tokenizers
    tokens         how many were predicted
    """

    env = "transformers"
    settings_type = PerplexitySettings
    reads = ("model", "dataset_path")

    def load(self) -> Any:
        import torch
        import transformers

        # Imported when they are first looked at, which takes seconds.
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
            raise ComponentFailed(f"{settings.dataset_path} holds too little text to predict any of it")
        loss = nats / tokens
        predicted_bytes = sum(len(text.encode("utf-8")) for text in texts) * tokens / len(flat)
        return {
            "perplexity": math.exp(loss),
            "loss": loss,
            "bits_per_byte": nats / math.log(2) / predicted_bytes,
            "tokens": tokens,
        }


def _surprise(torch: Any, model: Any, blocks: Any) -> float:
    """The negative log-likelihood, in nats, of all tokens of the blocks but the first of each."""
    blocks = blocks.to(model.device)
    with torch.inference_mode():
        logits = model(input_ids=blocks).logits[:, :-1].float()
        nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), blocks[:, 1:].flatten(), reduction="sum")
    return float(nats)


def _batches(torch: Any, flat: list[int], size: int, batch_size: int) -> Any:
    """Whole blocks, several at once, and the rest as a block of its own."""
    whole = len(flat) // size
    blocks = torch.tensor(flat[: whole * size]).view(whole, size)
    yield from blocks.split(batch_size) if whole else ()
    rest = flat[whole * size :]
    if len(rest) > 1:
        yield torch.tensor([rest])
