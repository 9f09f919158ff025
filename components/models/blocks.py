"""Sequences of tokens to train on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from components.models.tokens import encode

IGNORED = -100
"""A label that torch's cross entropy ignores."""


class Sequences(NamedTuple):
    """`items` are tensors of tokens; `stack` makes a batch of several. `tokens` is their total before they were cut,
    `tokens_each` the mean length of an item."""

    items: list[Any]
    stack: Callable[[list[Any]], dict[str, Any]]
    tokens: int
    tokens_each: float


def packed(tokenizer: Any, texts: list[str], size: int) -> Sequences:
    """Blocks of `size` tokens, with the end-of-text token after each text; the rest that fills no block is dropped."""
    import torch

    flat = encode(tokenizer, texts)
    count = len(flat) // size
    return Sequences(list(torch.tensor(flat[: count * size]).view(count, size)), _stacked, len(flat), size)


def padded(tokenizer: Any, texts: list[str], size: int) -> Sequences:
    """Each text as a sequence of at most `size` tokens, with the end-of-text token at its end if there is room."""
    import torch

    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    items = [torch.tensor([*tokens, tokenizer.eos_token_id][:size]) for tokens in encoded]
    filling = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    total = sum(map(len, items))
    return Sequences(items, lambda batch: _padded(batch, filling), total, total / len(items))


def _stacked(blocks: list[Any]) -> dict[str, Any]:
    import torch

    batch = torch.stack(blocks)
    return {"input_ids": batch, "labels": _labels(batch)}


def _padded(rows: list[Any], filling: int) -> dict[str, Any]:
    """Padding is neither attended to nor predicted."""
    import torch

    def fill(each: list[Any], value: int) -> Any:
        return torch.nn.utils.rnn.pad_sequence(each, batch_first=True, padding_value=value)

    return {
        "input_ids": fill(rows, filling),
        "attention_mask": fill([torch.ones_like(row) for row in rows], 0),
        "labels": _labels(fill(rows, IGNORED)),
    }


def _labels(batch: Any) -> Any:
    """The tokens to predict. The first one has no context and is ignored: the Trainer divides by the number of labels,
    so its loss would otherwise be too small by one part in `size`."""
    labels = batch.clone()
    labels[:, 0] = IGNORED
    return labels
