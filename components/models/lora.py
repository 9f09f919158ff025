"""LoRA, by peft: low-rank adapters are trained, the weights of the model stay unchanged."""

from __future__ import annotations

import copy
from typing import Any

from components.struct_settings import check_known
from sandbox_actors.errors import ConfigError, Problem


def with_adapter(model: Any, wanted: bool | dict[str, Any], who: str) -> Any:
    """`model` with a new adapter, the only part to be trained. `wanted` are fields of peft's LoraConfig.

    Raises ConfigError in the name of `who`.
    """
    from peft import LoraConfig, get_peft_model

    chosen = wanted if isinstance(wanted, dict) else {}
    check_known(chosen, tuple(LoraConfig.__dataclass_fields__), who, "lora.")
    settings = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    try:
        return get_peft_model(model, LoraConfig(**{**settings, **chosen}))
    except (TypeError, ValueError) as error:
        raise ConfigError([Problem(who, "lora", f"peft refuses it: {error}")]) from error


def merged(model: Any) -> Any:
    """A copy with the adapter merged into the weights; `model` and the weights that it shares are unchanged."""
    return copy.deepcopy(model).merge_and_unload()
