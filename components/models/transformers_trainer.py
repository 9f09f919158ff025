"""Training of causal language models with the Trainer of transformers."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, NamedTuple

from components.base import BaseModelExecutor, Watcher, keep_imports
from components.models.reporting import SERIES, make_reporter, parse, say
from components.models.texts import read_texts
from components.models.tokens import Tokenizers, encode
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem


class Base(NamedTuple):
    """What runs share. The model is never trained itself: a run trains a copy."""

    model: Any
    tokenizers: Tokenizers


class TransformersTrainExecutor(BaseModelExecutor):
    """Trains a model for a fixed number of tokens; returns the folder of the checkpoint.

    model          the architecture: `model_type` and fields of its transformers config, `vocab_size` among them, for
                   random weights; or the path of a folder with a model
    tokenizer      a folder with a tokenizer
    train_dataset  jsonl in Data-Juicer's format, one file or a list
    output_dir     where the checkpoint goes
    tokens         to train on (default 100000), rounded up to whole steps; the data are gone through as often as needed
    block_size     tokens of a sequence (default 128): texts are put one after the other and cut into such blocks
    batch_size     sequences of a step (default 8)
    learning_rate  default 1e-3
    seed           of the random weights, of the order of the data, and of dropout (default 42)
    text_key       where the text of a sample is (default `text`)
    arguments      anything else that TrainingArguments take

    The base model is made once a process, and every random state is set anew for a run. Metrics by step are `loss`,
    `learning_rate` and `grad_norm`; results are `samples`, `tokens`, and `final_loss`, the mean loss over the last
    tenth of the steps.
    """

    def __init__(self, model_config: Any, watcher: Watcher | None = None) -> None:
        super().__init__(model_config, watcher)
        self._lines_without_step = 0

    def load(self) -> Base:
        import transformers

        _ = transformers.Trainer  # imported when it is first looked at, which takes seconds
        keep_imports()
        wanted = self.model_config["model"]
        if isinstance(wanted, str):
            return Base(transformers.AutoModelForCausalLM.from_pretrained(wanted, local_files_only=True), Tokenizers())
        described = dict(wanted)
        transformers.set_seed(self._seed)
        architecture = transformers.AutoConfig.for_model(described.pop("model_type"), **described)
        return Base(transformers.AutoModelForCausalLM.from_config(architecture), Tokenizers())

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        from transformers import Trainer, set_seed

        base: Base = self.loaded or self.load()
        config = self.model_config
        tokenizer = base.tokenizers.load(str(config["tokenizer"]))
        _check_vocabulary(len(tokenizer), base.model.config.vocab_size)
        texts = read_texts(config["train_dataset"], config.get("text_key", "text"))
        arguments = self._arguments()
        blocks = self.data_connector(texts, tokenizer=tokenizer, batch_size=arguments.train_batch_size)
        set_seed(self._seed)
        model = copy.deepcopy(base.model)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            setattr(model.config, name, getattr(tokenizer, name))
        reporter = make_reporter()
        trainer = Trainer(
            model=model, args=arguments, train_dataset=blocks, data_collator=_stacked, processing_class=tokenizer
        )
        _report_to(trainer, reporter)
        trainer.train()
        output = str(Path(arguments.output_dir).absolute())
        trainer.save_model(output)
        tokens = trainer.state.global_step * self._tokens_a_step(arguments)
        say({"results": {"samples": len(texts), "tokens": tokens, "final_loss": reporter.final_loss()}})
        return output

    def data_connector(self, input_data: list[str], **kwargs: Any) -> Any:
        """Texts as blocks of tokens, the end-of-text token after each text; what does not fill a block is left out."""
        import torch

        size, flat = self._block_size, encode(kwargs["tokenizer"], input_data)
        count, wanted = len(flat) // size, kwargs["batch_size"]
        if count < wanted:
            raise ComponentFailed(
                f"{self.model_config['train_dataset']} has {len(flat)} tokens, which is less than one step takes: "
                f"{wanted} blocks of {size}; make batch_size or block_size smaller, or keep more samples"
            )
        return list(torch.tensor(flat[: count * size]).view(count, size))

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if self.watcher is None:
            return
        record = parse(line)
        if isinstance(record.get("results"), dict):
            self.watcher.watch(record["results"])
        elif "loss" in record:
            self._lines_without_step += 1
            step = record.get("step", self._lines_without_step)
            self.watcher.watch({name: record[name] for name in SERIES if name in record}, step=int(step))

    @property
    def _seed(self) -> int:
        return int(self.model_config.get("seed", 42))

    @property
    def _block_size(self) -> int:
        return int(self.model_config.get("block_size", 128))

    def _tokens_a_step(self, arguments: Any) -> int:
        sequences = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        return int(self._block_size * sequences)

    def _arguments(self) -> Any:
        import torch
        from transformers import TrainingArguments

        config = self.model_config
        has_gpu = torch.cuda.is_available()
        settings = {
            "output_dir": str(config["output_dir"]),
            "per_device_train_batch_size": int(config.get("batch_size", 8)),
            "learning_rate": float(config.get("learning_rate", 1e-3)),
            "seed": self._seed,
            "dataloader_drop_last": True,  # every step has the same number of tokens
            "dataloader_pin_memory": has_gpu,
            "logging_nan_inf_filter": False,
            "logging_steps": 1,
            "remove_unused_columns": False,
            "report_to": [],
            "save_strategy": "no",
            "use_cpu": not has_gpu,
        }
        chosen = config.get("arguments") or {}
        arguments = TrainingArguments(**{**settings, **chosen})
        if not {"max_steps", "num_train_epochs"} & set(chosen):
            arguments.max_steps = math.ceil(int(config.get("tokens", 100_000)) / self._tokens_a_step(arguments))
        return arguments


def _check_vocabulary(tokens: int, model_tokens: int) -> None:
    if tokens > model_tokens:
        problem = f"the tokenizer has {tokens} tokens, the model only {model_tokens}"
        raise ConfigError([Problem("trainer", "model.vocab_size", problem)])


def _stacked(blocks: list[Any]) -> dict[str, Any]:
    import torch

    batch = torch.stack(blocks)
    return {"input_ids": batch, "labels": batch}


def _report_to(trainer: Any, reporter: Any) -> None:
    """Let `reporter` be the one that writes to the log, in place of the Trainer's own printers."""
    from transformers import PrinterCallback, ProgressCallback

    for printer in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printer)
    trainer.add_callback(reporter)
