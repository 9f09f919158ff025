"""Evaluation of language models by lm-evaluation-harness."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec

from components.base import BaseEvaluator, keep_imports
from components.models.causal import CausalModels
from components.models.hub import find_model
from components.models.process_state import unchanged_process
from components.models.tokens import Tokenizers
from components.struct_settings import read_settings
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem
from sandbox_actors.files import user_path

WHO = "the lm_eval evaluator"

_ASIDE = ("alias", "name")
"""Entries of a task's results that are not measurements."""


class HarnessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """model         a folder with a model and its tokenizer, or a name on the hub
    tasks         the name of a task or group, or a list of them
    include_path  a folder with your own task files (YAML), or a list of folders; the default are the tasks that come
                  with the harness, most of which have their data on the hub
    num_fewshot   examples before each question (default: set by the task)
    batch_size    requests at once (default 8)
    limit         the number of samples of each task, or below 1 their share (default: all)
    dtype         of the weights in memory (default `auto`: as they are stored)
    bootstrap_iters   for the standard errors of metrics that have no formula (default 1000, 0: no standard errors)
    apply_chat_template   use the tokenizer's chat template (default false)
    gen_kwargs    settings of generation, such as `max_gen_toks`
    seed          of the choice of examples, and of sampling (default 1234)
    """

    model: str
    tasks: str | list[str]
    include_path: str | list[str] = ""
    num_fewshot: int | None = None
    batch_size: Annotated[int, msgspec.Meta(gt=0)] = 8
    limit: Annotated[float, msgspec.Meta(gt=0)] | None = None
    dtype: str = "auto"
    bootstrap_iters: Annotated[int, msgspec.Meta(ge=0)] = 1000
    apply_chat_template: bool = False
    gen_kwargs: dict[str, Any] = {}
    seed: int = 1234


class HarnessEvaluator(BaseEvaluator):
    """Measures a model by tasks; the keys of its config are those of `HarnessSettings`.

    `run` returns numbers by `<task>.<metric>`, `<task>.<metric>_stderr` and `<task>.samples`; of filtered answers,
    `<task>.<metric>.<filter>`. Relative paths in a task (`data_files`) start at the experiment's folder. The last model
    stays loaded while its files are the same.
    """

    env = "lm-eval"
    settings_type = HarnessSettings
    reads = ("model", "include_path")

    def load(self) -> Any:
        # The cache of `datasets` identifies a file by size and second of change: it would mix up the data of two runs.
        os.environ.setdefault("HF_DATASETS_CACHE", str(Path(os.environ.get("TMPDIR", "/tmp")) / "datasets"))
        import lm_eval
        import lm_eval.models.huggingface
        import lm_eval.tasks

        keep_imports()
        return lm_eval, CausalModels(), Tokenizers()

    def run(self, eval_type: str, eval_obj: Any = None, **kwargs: Any) -> dict[str, float]:
        settings = read_settings(self.eval_config, HarnessSettings, WHO)
        lm_eval, models, tokenizers = self.loaded or self.load()
        tasks = _tasks(lm_eval, settings)
        folder = find_model(settings.model)
        model = lm_eval.models.huggingface.HFLM(
            pretrained=models.load(folder, settings.dtype),
            tokenizer=tokenizers.load(folder),
            batch_size=settings.batch_size,
        )
        with unchanged_process():
            results = lm_eval.simple_evaluate(
                model=model,
                tasks=_names(settings.tasks),
                task_manager=tasks,
                num_fewshot=settings.num_fewshot,
                limit=settings.limit,
                bootstrap_iters=settings.bootstrap_iters,
                apply_chat_template=settings.apply_chat_template,
                gen_kwargs=settings.gen_kwargs or None,
                log_samples=False,
                random_seed=settings.seed,
                numpy_random_seed=settings.seed,
                torch_random_seed=settings.seed,
                fewshot_random_seed=settings.seed,
            )
        return flat({**results["results"], **(results.get("groups") or {})})


def flat(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The harness names a number `metric,filter`, with the filter `none` if there is none, and has N/A for some."""
    found: dict[str, float] = {}
    for task, values in results.items():
        for key, value in values.items():
            metric, _, filter_name = key.partition(",")
            if key in _ASIDE or isinstance(value, (bool, str)) or value is None:
                continue
            name = "samples" if metric == "sample_len" else metric
            suffix = "" if filter_name in ("", "none") else f".{filter_name}"
            found[f"{task}.{name}{suffix}"] = float(value)
    return found


def _names(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _tasks(lm_eval: Any, settings: HarnessSettings) -> Any:
    """The manager of the known tasks. Raises ComponentFailed and ConfigError."""
    folders = [str(user_path(each).absolute()) for each in _names(settings.include_path) if each]
    for folder in folders:
        if not Path(folder).is_dir():
            raise ComponentFailed(f"include_path: no folder {folder}: it must contain the task files")
    manager = lm_eval.tasks.TaskManager(include_path=folders or None, include_defaults=not folders)
    unknown = [name for name in _names(settings.tasks) if name not in manager.all_tasks]
    if unknown:
        known = ", ".join(manager.all_tasks) if folders else "those that come with the harness"
        raise ConfigError([Problem(WHO, "tasks", f"no task {name!r}; known: {known}") for name in unknown])
    return manager
