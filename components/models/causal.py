"""Causal language models: made with random weights or loaded from a folder, and copied for a run that changes them."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.models.hub import find_model
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem


class CausalModels:
    """Makes and loads models, and keeps the last one while the next is the same.

    A model from a folder is identified by its path and its files, because a later iteration may have written another
    model there. It is on the GPU if there is one, and in evaluation mode.
    """

    def __init__(self) -> None:
        self._key = ""
        self._model: Any = None

    def load(self, wanted: str | dict[str, Any], dtype: str = "float32", seed: int = 0) -> Any:
        """The model in a folder or on the hub, or one of the architecture `wanted`, whose random weights are those of
        `seed`. Raises ComponentFailed and ConfigError."""
        folder = find_model(wanted) if isinstance(wanted, str) else ""
        identity = files_of(Path(folder)) if folder else [wanted, seed]
        key = hashlib.sha256(json.dumps([folder, identity, dtype], sort_keys=True).encode()).hexdigest()
        if key != self._key:
            self._key, self._model = "", None  # so that two models are never in memory
            self._model = _placed(_read(folder, dtype) if isinstance(wanted, str) else _made(wanted, dtype, seed))
            self._key = key
        return self._model


def files_of(folder: Path) -> list[list[Any]]:
    """The files in a model's folder, by name, with size and time of change."""
    found = ((path, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return [[path.name, status.st_size, status.st_mtime_ns] for path, status in found]


@contextmanager
def working_copy(model: Any, shares_weights: bool) -> Iterator[Any]:
    """A copy of `model` to be trained. With `shares_weights` it has the weights of `model` itself, for a run that
    trains only weights that it adds; `requires_grad` of each is restored when the block ends."""
    if not shares_weights:
        yield copy.deepcopy(model)
        return
    weights = list(itertools.chain(model.parameters(), model.buffers()))
    takes_gradients = [weight.requires_grad for weight in weights]
    try:
        yield copy.deepcopy(model, {id(weight): weight for weight in weights})
    finally:
        for weight, flag in zip(weights, takes_gradients, strict=True):
            weight.requires_grad_(flag)


def _read(folder: str, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ComponentFailed(f"cannot load a model from {folder}: {error}") from error


def _made(architecture: dict[str, Any], dtype: str, seed: int) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, set_seed

    fields = dict(architecture)
    try:
        config = AutoConfig.for_model(fields.pop("model_type"), **fields)
        set_seed(seed)
        kind = torch.float32 if dtype == "auto" else getattr(torch, dtype)
        return AutoModelForCausalLM.from_config(config, dtype=kind)
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError([Problem("the model", "model", f"transformers cannot make this model: {error}")]) from error


def _placed(model: Any) -> Any:
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
