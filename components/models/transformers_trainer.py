"""Training of causal language models with the Trainer of transformers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from components.base import BaseModelExecutor, Watcher, keep_imports
from components.models.blocks import Sequences, packed, padded
from components.models.causal import CausalModels, working_copy
from components.models.checkpoints import Checkpoints, resume_from
from components.models.hub import find_model
from components.models.lora import merged, with_adapter
from components.models.process_state import unchanged_process
from components.models.reporting import SERIES, final_loss, make_reporter, note, parse, say
from components.models.texts import read_texts
from components.models.tokens import Tokenizers
from components.models.training import WHO, Training, sequences_a_step, training_arguments
from components.struct_settings import read_settings
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem


@dataclasses.dataclass
class Base:
    """The last model and the last tokenizer, which runs share. The model itself is never trained: a run trains a copy
    or an adapter."""

    models: CausalModels
    tokenizers: Tokenizers


class TransformersTrainExecutor(BaseModelExecutor):
    """Trains a causal language model; returns the folder of the model. The keys of its config are those of `Training`.

    The model is loaded once a process, and each run sets every random state. Metrics by step are `loss`,
    `learning_rate`, `grad_norm`, `tokens_per_second`, `samples_per_second` and `eval_loss`; results are `samples` (the
    texts), `tokens`, `final_loss` (the mean loss over the last tenth of the steps), `train_seconds`,
    `trained_parameters`, and `eval_loss`.
    """

    env = "transformers"
    settings_type = Training
    model_fields = ("model", "dtype", "seed")
    reads = ("model", "tokenizer", "train_dataset", "eval_dataset")

    def __init__(self, model_config: Any, watcher: Watcher | None = None) -> None:
        super().__init__(model_config, watcher)
        self._lines_without_step = 0

    def load(self) -> Base:
        training = self._training
        import transformers

        _ = transformers.Trainer  # imported on first access, which takes seconds
        if training.lora:
            import peft  # noqa: F401
        keep_imports()
        base = Base(CausalModels(), Tokenizers())
        self._model_of(base)
        return base

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        base: Base = self.loaded or self.load()
        with (
            unchanged_process(),
            working_copy(self._model_of(base), shares_weights=bool(self._training.lora)) as model,
        ):
            return self._train(model, base.tokenizers)

    def _train(self, model: Any, tokenizers: Tokenizers) -> str:
        from transformers import set_seed

        training = self._training
        tokenizer = tokenizers.load(find_model(training.tokenizer or str(training.model)))
        _check_vocabulary(len(tokenizer), model.config.vocab_size)
        texts = read_texts(training.train_dataset, training.text_key)
        sequences = self.data_connector(texts, tokenizer=tokenizer)
        output = Path(training.output_dir).absolute()
        checkpoints = Checkpoints(output, training.identity, sequences.items) if training.saves else None
        arguments = training_arguments(
            training, str(checkpoints.folder if checkpoints else output), sequences.tokens_each
        )
        self._check_amount(sequences, arguments.train_batch_size)
        set_seed(training.seed)
        _align(model, tokenizer)
        if training.lora:
            model = with_adapter(model, training.lora, WHO)
        trainer = self._trainer(model, arguments, sequences, tokenizer)
        note(f"{_size(trainer.model)} on {arguments.device}, computing in {_precision(arguments)}")
        started = time.perf_counter()
        trainer.train(resume_from_checkpoint=_start(checkpoints, training.resume))
        seconds = time.perf_counter() - started
        results = self._results(trainer, len(texts), seconds)
        self._save(trainer, tokenizer, output)
        if checkpoints:
            checkpoints.end()
        say({"results": results})
        return str(output)

    def data_connector(self, input_data: list[str], **kwargs: Any) -> Sequences:
        """Texts as sequences of tokens."""
        make = packed if self._training.packing else padded
        return make(kwargs["tokenizer"], input_data, self._training.block_size)

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if self.watcher is None:
            return
        record = parse(line)
        series = {name: record[name] for name in SERIES if name in record}
        if isinstance(record.get("results"), dict):
            self.watcher.watch(record["results"])
        elif "loss" in series or "step" in record:
            self._lines_without_step += 1
            self.watcher.watch(series, step=int(record.get("step", self._lines_without_step)))

    @cached_property
    def _training(self) -> Training:
        return read_settings(self.model_config, Training, WHO)

    def _model_of(self, base: Base) -> Any:
        training = self._training
        return base.models.load(training.model, training.dtype, training.seed)

    def _trainer(self, model: Any, arguments: Any, sequences: Sequences, tokenizer: Any) -> Any:
        from transformers import PrinterCallback, ProgressCallback, Trainer

        training, held_out = self._training, None
        if training.eval_dataset:
            texts = read_texts(training.eval_dataset, training.text_key)
            held_out = self.data_connector(texts, tokenizer=tokenizer).items
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=sequences.items,
            eval_dataset=held_out,
            data_collator=sequences.stack,
            processing_class=tokenizer,
        )
        for printer in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(printer)
        trainer.evaluate = _without_side_effects(trainer)
        trainer.add_callback(make_reporter(lambda state: self._done(state, arguments)))
        return trainer

    def _done(self, state: Any, arguments: Any) -> tuple[int, int]:
        """Tokens and sequences trained on."""
        sequences = state.global_step * sequences_a_step(arguments)
        tokens = sequences * self._training.block_size if self._training.packing else state.num_input_tokens_seen
        return int(tokens), sequences

    def _results(self, trainer: Any, texts: int, seconds: float) -> dict[str, Any]:
        results = {
            "samples": texts,
            "tokens": self._done(trainer.state, trainer.args)[0],
            "final_loss": final_loss(trainer.state.log_history),
            "train_seconds": round(seconds, 3),
            "trained_parameters": _count(trainer.model, only_trained=True),
        }
        if self._training.eval_dataset:
            results["eval_loss"] = float(trainer.evaluate()["eval_loss"])
        return results

    def _save(self, trainer: Any, tokenizer: Any, output: Path) -> None:
        if not self._training.lora:
            trainer.save_model(str(output))
            return
        trainer.model.save_pretrained(output / "adapter")
        merged(trainer.model).save_pretrained(output)
        tokenizer.save_pretrained(output)

    def _check_amount(self, sequences: Sequences, batch: int) -> None:
        if self._training.packing and len(sequences.items) < batch:
            raise ComponentFailed(
                f"{self._training.train_dataset} has {sequences.tokens} tokens, fewer than one step needs: "
                f"{batch} blocks of {self._training.block_size}; reduce batch_size or block_size, set `packing` "
                f"to false, or keep more samples"
            )


def _start(checkpoints: Checkpoints | None, resume: bool | str) -> str | None:
    """The checkpoint to continue from."""
    if checkpoints is not None:
        return checkpoints.begin(resume)
    return resume_from(resume) if isinstance(resume, str) else None


def _size(model: Any) -> str:
    return f"training {_count(model, only_trained=True):,} of {_count(model):,} parameters"


def _count(model: Any, only_trained: bool = False) -> int:
    return sum(each.numel() for each in model.parameters() if each.requires_grad or not only_trained)


def _precision(arguments: Any) -> str:
    return "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32"


def _align(model: Any, tokenizer: Any) -> None:
    """Set the special tokens of the tokenizer in the model's configs."""
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        for described in (model.config, model.generation_config):
            setattr(described, name, getattr(tokenizer, name))


def _without_side_effects(trainer: Any) -> Callable[..., Any]:
    """`trainer.evaluate` on all of the data, with a smaller last batch; torch's random state is restored, so that an
    evaluation does not change the training after it."""
    import torch

    measure, arguments = trainer.evaluate, trainer.args

    def measured(*args: Any, **kwargs: Any) -> Any:
        drops_last, arguments.dataloader_drop_last = arguments.dataloader_drop_last, False
        try:
            with torch.random.fork_rng():
                return measure(*args, **kwargs)
        finally:
            arguments.dataloader_drop_last = drops_last

    return measured


def _check_vocabulary(tokens: int, model_tokens: int) -> None:
    if tokens > model_tokens:
        problem = f"the tokenizer has {tokens} tokens, the model only {model_tokens}"
        raise ConfigError([Problem(WHO, "model.vocab_size", problem)])
