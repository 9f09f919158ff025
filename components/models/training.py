"""The settings of the `transformers` trainer: its config keys, their defaults, and the TrainingArguments from them."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec

from components.struct_settings import check_known
from sandbox_actors.errors import ConfigError, Problem

WHO = "the transformers trainer"

Count = Annotated[int, msgspec.Meta(gt=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """Three groups of keys.

    The model and the data:

    model          the architecture as a mapping: `model_type` and fields of its transformers config, `vocab_size` among
                   them, for random weights; or a folder with a model, or a model's name on the hub
    dtype          of the weights in memory; `auto`: as they are stored (default float32)
    lora           train a LoRA adapter instead of all weights: `true`, or fields of peft's LoraConfig (default r 8,
                   lora_alpha 16, all linear layers); output_dir then gets the merged model and `adapter`
    tokenizer      a folder with one, or a name on the hub (default: that of the model)
    train_dataset  jsonl, a folder with shards, or a list of these
    eval_dataset   the same, for `eval_loss`: at the end, and every `eval_steps` steps
    text_key       the key of the text (default `text`)
    packing        true (default): texts are concatenated and cut into blocks, so that every step has the same number of
                   tokens; false: each text is a sequence, cut at block_size, padded to the longest of its batch
    block_size     tokens of a sequence (default 128)
    output_dir     the folder of the model

    The training:

    tokens         to train on, rounded up to whole steps (default 100000); the data are repeated as needed
    epochs, max_steps   instead of `tokens`
    batch_size     sequences of a step and device (default 8); the default of eval_batch_size is the same
    gradient_accumulation_steps   batches in a step (default 1)
    learning_rate  default 1e-3
    lr_scheduler_type   a name that transformers knows (default linear), after `warmup_steps` (below 1: a share of all)
    weight_decay   default 0
    max_grad_norm  gradients are clipped to this norm (default 1, 0: never)
    precision      of the computation: fp32, bf16, fp16, or auto (default): bf16 on a GPU that has it, else fp32
    seed           of random weights, the order of the data, and dropout (default 42)
    arguments      any other TrainingArguments

    Logs and checkpoints:

    logging_steps  steps between two losses in the log (default 1)
    save_steps     steps between two checkpoints below output_dir (default: none)
    save_total_limit    the number of checkpoints to keep (default 2)
    resume         continue from the last checkpoint of an interrupted run with the same settings and data (default
                   true); or the folder of a checkpoint to continue from
    """

    model: str | dict[str, Any]
    train_dataset: str | list[str]
    output_dir: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    lora: bool | dict[str, Any] = False
    tokenizer: str = ""
    eval_dataset: str | list[str] = ""
    text_key: str = "text"
    packing: bool = True
    block_size: Annotated[int, msgspec.Meta(gt=1)] = 128
    tokens: Count | None = None
    epochs: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_steps: Count | None = None
    batch_size: Count = 8
    eval_batch_size: Count | None = None
    gradient_accumulation_steps: Count = 1
    learning_rate: Amount = 1e-3
    lr_scheduler_type: str = "linear"
    warmup_steps: Amount = 0
    weight_decay: Amount = 0.0
    max_grad_norm: Amount = 1.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: Annotated[int, msgspec.Meta(ge=0)] = 42
    logging_steps: Count = 1
    eval_steps: Count | None = None
    save_steps: Count | None = None
    save_total_limit: Count = 2
    resume: bool | str = True
    arguments: dict[str, Any] = {}

    def __post_init__(self) -> None:
        lengths = [name for name in ("tokens", "epochs", "max_steps") if getattr(self, name) is not None]
        if len(lengths) > 1:
            raise ValueError(f"{' and '.join(lengths)} exclude each other: give one")
        if isinstance(self.model, dict) and not isinstance(self.model.get("model_type"), str):
            raise ValueError("`model` is a mapping without `model_type`, such as gpt2 or llama")
        if isinstance(self.model, dict) and not self.tokenizer:
            raise ValueError("`tokenizer` is needed: a model with random weights has none")
        if self.eval_steps and not self.eval_dataset:
            raise ValueError("`eval_steps` needs an `eval_dataset`")

    @property
    def saves(self) -> bool:
        """Whether checkpoints are written."""
        return self.save_steps is not None or self.arguments.get("save_strategy", "no") != "no"

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that must be the same for a run to continue an interrupted one."""
        aside = {"output_dir", "train_dataset", "eval_dataset", "tokenizer", "resume", "save_total_limit"}
        return {name: value for name, value in msgspec.structs.asdict(self).items() if name not in aside}


def training_arguments(training: Training, folder: str, tokens_each: float) -> Any:
    """TrainingArguments for sequences with a mean of `tokens_each` tokens. Raises ConfigError for an unknown argument,
    and for a precision that the device does not have."""
    import torch
    from transformers import TrainingArguments

    check_known(training.arguments, tuple(TrainingArguments.__dataclass_fields__), WHO, "arguments.")
    has_gpu = torch.cuda.is_available()
    precision = _precision(torch, training.precision, has_gpu)
    settings = {
        "output_dir": folder,
        "per_device_train_batch_size": training.batch_size,
        "per_device_eval_batch_size": training.eval_batch_size or training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.lr_scheduler_type,
        "warmup_steps": training.warmup_steps,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "seed": training.seed,
        "num_train_epochs": training.epochs or 1,
        "max_steps": training.max_steps or -1,
        "dataloader_drop_last": training.packing,  # every step has the same number of tokens
        "dataloader_pin_memory": has_gpu,
        "eval_strategy": "steps" if training.eval_steps else "no",
        "eval_steps": training.eval_steps,
        "include_num_input_tokens_seen": "no" if training.packing else "non_padding",
        "logging_nan_inf_filter": False,
        "logging_steps": training.logging_steps,
        "remove_unused_columns": False,
        "report_to": [],
        "save_strategy": "steps" if training.save_steps else "no",
        "save_steps": training.save_steps or 500,
        "save_total_limit": training.save_total_limit,
        "use_cpu": not has_gpu,
    }
    try:
        arguments = TrainingArguments(**{**settings, **training.arguments})
    except (TypeError, ValueError) as error:
        raise ConfigError([Problem(WHO, "", f"transformers refuses the settings: {error}")]) from error
    if training.epochs is None and not {"max_steps", "num_train_epochs"} & set(training.arguments):
        a_step = max(1.0, tokens_each) * sequences_a_step(arguments)
        arguments.max_steps = training.max_steps or math.ceil((training.tokens or 100_000) / a_step)
    return arguments


def sequences_a_step(arguments: Any) -> int:
    return int(arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size)


def _precision(torch: Any, wanted: str, has_gpu: bool) -> str:
    has_bf16 = has_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        return "bf16" if has_bf16 else "fp32"
    if wanted == "fp16" and not has_gpu:
        raise ConfigError([Problem(WHO, "precision", "fp16 needs a GPU; use fp32, bf16 or auto")])
    if wanted == "bf16" and has_gpu and not has_bf16:
        raise ConfigError([Problem(WHO, "precision", "this GPU has no bf16; use fp32, fp16 or auto")])
    return wanted
