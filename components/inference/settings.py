"""The keys of inference configs, their types and defaults."""

from __future__ import annotations

from typing import Any

import msgspec

IMPROVING = (
    "You write prompts for language models. You are shown prompts for one and the same task. Find out what they have "
    "in common, and write a new prompt of the same form with which a model would do the task better. Change words, "
    "order and details rather than the task. Answer with the new prompt and nothing else."
)
"""What the model that makes prompts is told to do."""

API_SECRETS = ("api_key", "model_params.api_key", "model_params.default_headers.Authorization")
"""Dotted keys under which people write the key of an API, which no file should hold."""

RESPONSE_PATH = "choices.0.message.content"


class InferSettings(msgspec.Struct, kw_only=True, frozen=True):
    """The keys that all types have.

    dataset_path         jsonl, one file or a list
    export_path          a folder; each dataset gets `<name>_inference.jsonl` in it
    infer_res_key        where a sample gets its answer (default `response`)
    build_messages_func  from a sample to what is asked (default `build_messages`)
    parse_output_func    from what the model says to what is recorded (default `parse_output`)
    func_kwargs          arguments of both
    model                what it is called, or where it lies
    model_params         of the model, by type
    sampling_params      of the generation, by type
    max_failed_share     the run fails if a larger share of samples gets no answer (default 0.05)
    """

    dataset_path: str | list[str]
    export_path: str
    model: str | None = None
    infer_res_key: str = "response"
    build_messages_func: str = "build_messages"
    parse_output_func: str = "parse_output"
    func_kwargs: dict[str, Any] = {}
    model_params: dict[str, Any] = {}
    sampling_params: dict[str, Any] = {}
    max_failed_share: float = 0.05


class ApiSettings(InferSettings, kw_only=True, frozen=True):
    """model            as the API calls it (default: the first that it lists)
    api_endpoint     an address, or the path below `model_params.base_url` or OPENAI_BASE_URL
    response_path    where the answer lies (default `choices.0.message.content`)
    sampling_params  sent along: `temperature`, `max_tokens`, ...
    max_concurrency  so many requests under way (default 16)
    max_retry_num    so many attempts more after one that failed (default 5)
    retry_delay      seconds before the first of them, doubled each time (default 1)
    max_wait         the run ends where the server asks to wait for more seconds (default 300)
    request_timeout  seconds that a request may take (default 600)
    max_answer_bytes an answer may have (default 16 MiB)
    api_key_env      the environment variable with the key (default OPENAI_API_KEY)
    api_key_file     a file with the key, instead
    api_key_header   what the key is sent in (default Authorization)
    """

    api_endpoint: str | None = None
    response_path: str = RESPONSE_PATH
    max_concurrency: int = 16
    max_retry_num: int = 5
    retry_delay: float = 1.0
    max_wait: float = 300.0
    request_timeout: float | None = None
    max_answer_bytes: int = 16 * 1024 * 1024
    api_key_env: str = "OPENAI_API_KEY"
    api_key_file: str | None = None
    api_key_header: str = "Authorization"


class HuggingFaceSettings(InferSettings, kw_only=True, frozen=True):
    """model            a folder, or a name on the hub
    model_params     arguments of `from_pretrained`: `dtype`, `device_map`, ...
    sampling_params  arguments of `generate`: `max_new_tokens`, `temperature`, ...; `max_tokens` and `stop` are
                     understood too
    batch_size       prompts at once (default 16)
    seed             of what is random in the generation (default 42)
    """

    batch_size: int = 16
    seed: int = 42


class VllmSettings(InferSettings, kw_only=True, frozen=True):
    """model            a folder, or a name on the hub
    model_params     arguments of `vllm.LLM`; `tensor_parallel_size` is by default the number of GPUs that the job sees
    sampling_params  arguments of `vllm.SamplingParams`; `max_tokens` is by default 512, `seed` that of the config
    chunk_size       conversations handed over at once: what is kept when it is cut off (default 10000)
    seed             of what is random in the generation (default 42)
    """

    chunk_size: int = 10_000
    seed: int = 42


class PromptGenerationSettings(ApiSettings, kw_only=True, frozen=True):
    """The keys of ApiSettings that say which model is asked and how, and

    dataset_path          jsonl, one file with the prompts so far
    export_path           a .jsonl file, or a folder, which gets `prompts.jsonl`
    prompt_key            where a sample has its prompt (default `prompt`)
    gen_num               so many new ones (default 3)
    max_example_num       so many are shown to the model at once (default 3)
    keep_original_sample  the prompts so far are exported too, before the new ones (default true)
    retry_num             so often the model is asked for each new one (default 3)
    seed                  of which prompts are shown first (default 42)
    system_prompt         what the model is told to do
    input_template        what it is then asked; `{}` stands for the examples
    example_template      one of them; `{}` stands for its prompt
    output_pattern        a regular expression: its last group, or all of it, is the new prompt (default: all that the
                          model says)
    """

    dataset_path: str
    prompt_key: str = "prompt"
    gen_num: int = 3
    max_example_num: int = 3
    keep_original_sample: bool = True
    retry_num: int = 3
    seed: int = 42
    system_prompt: str = IMPROVING
    input_template: str = "{}"
    example_template: str = "Prompt:\n{}\n\n"
    output_pattern: str = r"^\s*(?:Prompt:)?\s*(.*)$"
