"""The keys of inference configs, their types and defaults."""

from __future__ import annotations

from typing import Any

import msgspec

IMPROVING = (
    "You write prompts for language models. You are shown prompts for one and the same task. Find out what they have "
    "in common, and write a new prompt of the same form with which a model would do the task better. Change words, "
    "order and details rather than the task. Answer with the new prompt and nothing else."
)
"""The default system prompt for the model that makes prompts."""

API_SECRETS = ("api_key", "model_params.api_key", "model_params.default_headers.Authorization")
"""Dotted keys under which people write API keys, which an experiment file must not contain."""

RESPONSE_PATH = "choices.0.message.content"


class InferSettings(msgspec.Struct, kw_only=True, frozen=True):
    """The keys that all types of inference have.

    dataset_path         jsonl, one file or a list
    export_path          the folder of the exports, `<name>_inference.jsonl`
    infer_res_key        the key of the answer in a sample (default `response`)
    build_messages_func  from a sample to the messages (default `build_messages`)
    parse_output_func    from the model's output to the recorded value (default `parse_output`)
    func_kwargs          arguments of both
    model                its name, or its folder
    model_params         arguments for the model, depending on the type
    sampling_params      arguments for the generation, depending on the type
    max_failed_share     the run fails if a larger share of the samples gets no answer (default 0.05)
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
    """model            its name in the API (default: the first that the API lists)
    api_endpoint     an address, or the path below `model_params.base_url` or OPENAI_BASE_URL
    response_path    the dotted path of the answer in a response (default `choices.0.message.content`)
    sampling_params  sent with each request: `temperature`, `max_tokens`, ...
    max_concurrency  the most requests in flight (default 16)
    max_retry_num    the most retries of a failed request (default 5)
    retry_delay      seconds before the first retry, doubled each time (default 1)
    max_wait         the run fails if the server asks to wait longer, in seconds (default 300)
    request_timeout  of a request, in seconds (default 600)
    max_answer_bytes the largest response (default 16 MiB)
    api_key_env      the environment variable with the key (default OPENAI_API_KEY)
    api_key_file     a file with the key, instead
    api_key_header   the header that carries the key (default Authorization)
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
                     accepted too
    batch_size       prompts in a batch (default 16)
    seed             of the random numbers in the generation (default 42)
    """

    model: str
    batch_size: int = 16
    seed: int = 42


class VllmSettings(InferSettings, kw_only=True, frozen=True):
    """model            a folder, or a name on the hub
    model_params     arguments of `vllm.LLM`; the default of `tensor_parallel_size` is the number of GPUs of the job
    sampling_params  arguments of `vllm.SamplingParams`; the default of `max_tokens` is 512, that of `seed` the config's
    chunk_size       conversations in a call of vLLM; answers are saved after each call (default 10000)
    seed             of the random numbers in the generation (default 42)
    """

    model: str
    chunk_size: int = 10_000
    seed: int = 42


class PromptGenerationSettings(ApiSettings, kw_only=True, frozen=True):
    """The keys of ApiSettings that define which model is asked and how, and

    dataset_path          jsonl, one file with the prompts so far
    export_path           a .jsonl file, or a folder, which gets `prompts.jsonl`
    prompt_key            the key of the prompt in a sample (default `prompt`)
    gen_num               the number of new prompts (default 3)
    max_example_num       the most prompts that are shown to the model at once (default 3)
    keep_original_sample  export the prompts so far too, before the new ones (default true)
    retry_num             the most attempts for each new prompt (default 3)
    seed                  of the choice of the prompts that are shown first (default 42)
    system_prompt         the instruction for the model
    input_template        the question; `{}` is replaced by the examples
    example_template      an example; `{}` is replaced by its prompt
    output_pattern        a regular expression: its last group, or else its whole match, is the new prompt (default: the
                          whole output)
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
