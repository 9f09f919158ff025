"""Training with the trainers of modelscope."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import msgspec

from components.base import BaseModelExecutor, Watcher, keep_imports
from components.models.hub import find_modelscope_model
from components.models.process_state import unchanged_process
from components.models.texts import read_items
from components.struct_settings import read_settings
from sandbox_actors.errors import ComponentFailed
from sandbox_actors.files import user_path

WHO = "the modelscope trainer"

_LINE = re.compile(
    r"epoch(?P<eval>\(eval\))? \[(?P<epoch>\d+)\](?:\[(?P<done>\d+)(?:/(?P<total>\d+))?\])?\t(?P<rest>.*)"
)
_ITEM = re.compile(r"(?<![\w/.-])([\w/.-]+): ([+-]?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|nan|inf))(?=,|\s*$)", re.IGNORECASE)
_LOSS = re.compile(r"loss:\s*([0-9]+(?:\.[0-9]*)?)")
_TIMES = {"eta", "iter_time", "data_load_time", "memory"}


class ModelscopeTraining(msgspec.Struct, frozen=True, kw_only=True):
    """The second group are sections of modelscope's configuration, merged into those of the model.

    model_name     a model's folder, or its name on modelscope's hub
    trainer_name   which of modelscope's trainers, such as `nlp-base-trainer`
    train_dataset  jsonl in Data-Juicer's format, a folder with shards, a list of these, or a name on the hub
    eval_dataset   the same
    work_dir       the folder of logs, checkpoints, and `output`, the trained model
    key_remapping  from the names of the samples' fields to those that the trainer needs
    seed           of all random numbers (default 42)

    train          such as `max_epochs`, `optimizer`, `lr_scheduler`, `hooks`, `dataloader`
    evaluation, preprocessor, dataset, model, pipeline, task, framework   likewise
    """

    model_name: str
    trainer_name: str
    work_dir: str
    train_dataset: str | list[str] = ""
    eval_dataset: str | list[str] = ""
    key_remapping: dict[str, str] = {}
    seed: int = 42
    train: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    preprocessor: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    model: dict[str, Any] = {}
    pipeline: dict[str, Any] = {}
    task: str = ""
    framework: str = ""

    @property
    def sections(self) -> dict[str, Any]:
        names = ("train", "evaluation", "preprocessor", "dataset", "model", "pipeline", "task", "framework")
        return {name: value for name in names if (value := getattr(self, name))}


class ModelscopeTrainExecutor(BaseModelExecutor):
    """Trains a model as modelscope does; returns its `work_dir`. The keys are those of `ModelscopeTraining`.

    Only the imports stay warm: modelscope's trainers load the model themselves in each run. Metrics by step, counted
    over all epochs, are those in modelscope's lines: `loss`, `learning_rate`, `eval.<metric>`.
    """

    env = "modelscope"
    settings_type = ModelscopeTraining
    reads = ("model_name", "train_dataset", "eval_dataset")

    def __init__(self, model_config: Any, watcher: Watcher | None = None) -> None:
        super().__init__(model_config, watcher)
        self._steps_of_epoch = 0
        self._lines_without_step = 0

    def load(self) -> Any:
        for name in ("modelscope.trainers.nlp_trainer", "modelscope.msdatasets", "datasets"):
            importlib.import_module(name)
        keep_imports()
        return importlib.import_module("modelscope.trainers.builder").build_trainer

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        training = self._training
        build = self.loaded or self.load()
        work_dir = str(user_path(training.work_dir).absolute())
        settings: dict[str, Any] = {"work_dir": work_dir, "seed": training.seed, "cfg_modify_fn": self.cfg_modify_fn}
        for name, split in (("train_dataset", "train"), ("eval_dataset", "val")):
            given = getattr(training, name)
            settings[name] = self.data_connector(given, split, training.key_remapping) if given else None
        with unchanged_process(), _local_models_are_not_looked_up():
            self.executor = build(
                name=training.trainer_name,
                default_args={**settings, "model": find_modelscope_model(training.model_name)},
            )
            self.executor.train()
        return work_dir

    def cfg_modify_fn(self, cfg: Any) -> Any:
        """The model's own configuration with the sections of the job's config merged into it."""
        cfg.merge_from_dict({**self._training.sections})
        return cfg

    def data_connector(
        self, input_data: Any, split: str = "train", key_remapping: dict[str, str] | None = None, **kwargs: Any
    ) -> Any:
        """A dataset of Hugging Face's `datasets` from local files or from modelscope's hub, with renamed fields."""
        from datasets import Dataset

        paths = [input_data] if isinstance(input_data, str) else input_data
        if all(user_path(path).exists() for path in paths):
            items = [_without_marks(item) for item in read_items(paths)]
            if not items:
                raise ComponentFailed(f"{', '.join(paths)} contains no samples")
            dataset = Dataset.from_list(items)
        elif len(paths) == 1 and not paths[0].endswith((".jsonl", ".json", ".gz")):
            from modelscope.msdatasets import MsDataset

            dataset = MsDataset.load(paths[0], split=split).ds_instance
        else:
            raise ComponentFailed(f"cannot read the dataset {', '.join(paths)}: no such file or folder")
        known = {old: new for old, new in (key_remapping or {}).items() if old in dataset.column_names}
        return dataset.rename_columns(known)

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if self.watcher is None:
            return
        match = _LINE.search(line)
        if match is not None:
            self._watch_line(match)
        elif found := _LOSS.search(line):
            self._lines_without_step += 1
            self.watcher.watch(float(found[1]), "loss", step=self._lines_without_step)

    def _watch_line(self, match: re.Match[str]) -> None:
        """A line after some steps of an epoch, or after its evaluation: then its numbers in brackets count batches."""
        assert self.watcher is not None
        items = {name: float(value) for name, value in _ITEM.findall(match["rest"]) if name not in _TIMES}
        epoch = int(match["epoch"])
        if match["eval"]:
            scores = {name.rpartition("/")[2]: value for name, value in items.items()}
            self.watcher.watch(scores, "eval", step=epoch * self._steps_of_epoch)
            return
        self._steps_of_epoch = int(match["total"] or 0)
        step = (epoch - 1) * self._steps_of_epoch + int(match["done"] or 0)
        renamed = {"learning_rate" if name == "lr" else name: value for name, value in items.items()}
        self.watcher.watch(renamed, step=step)

    @cached_property
    def _training(self) -> ModelscopeTraining:
        return read_settings(self.model_config, ModelscopeTraining, WHO)


@contextmanager
def _local_models_are_not_looked_up() -> Iterator[None]:
    """Turns off the search of modelscope's hub for a newer version of a model in a folder. It only adds a line to the
    log, and takes 20 seconds if the hub does not answer."""
    base: Any = importlib.import_module("modelscope.trainers.base")
    check = base.check_local_model_is_latest
    base.check_local_model_is_latest = lambda *args, **kwargs: None
    try:
        yield
    finally:
        base.check_local_model_is_latest = check


def _without_marks(item: dict[str, Any]) -> dict[str, Any]:
    """A sample without the fields that Data-Juicer adds."""
    return {name: value for name, value in item.items() if not name.startswith("__dj__")}
