"""The loss of a causal language model on each sample of a dataset."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Iterator
from typing import Any

from components.base import BaseEvaluator, keep_imports
from components.evaluators.measure_settings import SampleLossSettings
from components.evaluators.sample_measures import dataset_of, summary, target_of, text_of, write_measured
from components.inference.language_model import LanguageModel, LanguageModels
from components.inference.samples import read_samples
from components.struct_settings import read_settings
from sandbox_actors.errors import ConfigError, Problem

LOSS, PERPLEXITY = "model_loss", "model_perplexity"

WINDOW = 64
"""Batches that are sorted by length together, to reduce padding."""

_OVERFLOW = 700.0
"""Nats per token; exp() of more overflows."""


class SampleLossEvaluator(BaseEvaluator):
    """Writes the dataset with two figures in each sample, and returns

    export_path  the measured dataset
    measure_key  the dotted key of the loss: `__dj__stats__.model_loss`
    samples      their number; both figures are null for one without text
    tokens       the number of predicted tokens
    loss         summary over the samples: count, mean, std, min, 25%, 50%, 75%, max
    perplexity   the same

    The loss is the mean negative log-likelihood of the sample's tokens in nats, `model_perplexity` is exp of it. A text
    is preceded by the tokenizer's beginning-of-text token, or else its end-of-text token, so that all of its tokens are
    predicted. It is cut into blocks if it is longer than the model's context.
    """

    env = "transformers"
    settings_type = SampleLossSettings
    model_fields = ("model", "model_params")
    reads = ("dataset_path",)

    def load(self) -> LanguageModels:
        import transformers

        # transformers imports these on first access, which takes seconds.
        _ = transformers.PreTrainedModel, transformers.PreTrainedTokenizerFast
        keep_imports()
        return LanguageModels()

    def run(self, eval_type: str, eval_obj: Any = None, **kwargs: Any) -> dict[str, Any]:
        settings = read_settings(self.eval_config, SampleLossSettings, "model infer evaluator")
        if settings.batch_size < 1:
            raise ConfigError([Problem("model infer evaluator", "batch_size", "must be at least 1")])
        dataset = dataset_of(settings.dataset_path, eval_obj, "model infer evaluator")
        texts = [text_of(sample.item, settings.text_key) for sample in read_samples(dataset)]
        models: LanguageModels = self.loaded or self.load()
        model = models.load(settings.model, settings.model_params)
        nats, tokens = [0.0] * len(texts), [0] * len(texts)
        bar = importlib.import_module("tqdm").tqdm(
            total=len(texts), desc="measuring", unit="sample", delay=2, mininterval=0.2
        )
        with bar:
            for blocks in _batches(texts, model, settings):
                for (place, block), surprise in zip(
                    blocks, _surprises(model, [block for _, block in blocks]), strict=True
                ):
                    nats[place] += surprise
                    tokens[place] += len(block) - 1
                bar.update(len({place for place, _ in blocks}))
        losses = [total / count if count else None for total, count in zip(nats, tokens, strict=True)]
        perplexities = [None if loss is None else math.exp(min(loss, _OVERFLOW)) for loss in losses]
        summaries = {"loss": summary(losses), "perplexity": summary(perplexities)}
        target = target_of(settings.export_path, dataset)
        figures = [{LOSS: loss, PERPLEXITY: other} for loss, other in zip(losses, perplexities, strict=True)]
        write_measured(dataset, target, settings.stats_key, figures)
        print(f"{len(texts)} samples measured: {target}")
        return {
            "export_path": str(target),
            "measure_key": f"{settings.stats_key}.{LOSS}",
            "samples": len(texts),
            "tokens": sum(tokens),
            **summaries,
        }


def _batches(
    texts: list[str], model: LanguageModel, settings: SampleLossSettings
) -> Iterator[list[tuple[int, list[int]]]]:
    """Batches of blocks of tokens, of similar lengths, with the number of each block's text. The first token of a block
    is only context."""
    size = settings.block_size or model.limit or 1024
    if size < 2:
        raise ConfigError(
            [Problem("model infer evaluator", "block_size", "must be at least 2: a token, and one to predict it from")]
        )
    start = model.start
    pieces = (
        (place, block) for place, text in enumerate(texts) if text for block in _blocks(model.encode(text), start, size)
    )
    while window := list(itertools.islice(pieces, WINDOW * settings.batch_size)):
        window.sort(key=lambda each: len(each[1]), reverse=True)
        for first in range(0, len(window), settings.batch_size):
            yield window[first : first + settings.batch_size]


def _blocks(tokens: list[int], start: list[int], size: int) -> Iterator[list[int]]:
    """The tokens in blocks of at most `size`. Each further block begins with the last token of the previous one."""
    tokens = [*start, *tokens]
    for first in range(0, len(tokens) - 1, size - 1):
        yield tokens[first : first + size]


def _surprises(model: LanguageModel, blocks: list[list[int]]) -> list[float]:
    """For each block, the negative log-likelihood of all its tokens but the first, in nats."""
    import torch

    longest = max(map(len, blocks))
    rows = torch.tensor([block + [0] * (longest - len(block)) for block in blocks], device=model.model.device)
    seen = torch.tensor([[1] * len(block) + [0] * (longest - len(block)) for block in blocks], device=rows.device)
    with torch.inference_mode():
        logits = model.model(input_ids=rows, attention_mask=seen).logits[:, :-1].float()
        nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction="none")
        return [float(each) for each in (nats.double() * seen[:, 1:]).sum(dim=1)]
