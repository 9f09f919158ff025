"""Data-Juicer for a long-lived process: imported once, configured for speed, with its global state restored.

Written for py-data-juicer 1.6.1. What it does that a warm worker must not do, and what this module does instead:

- It installs missing packages at run time. Here an ImportError names the package.
- Its `core` packages import ray, and the end of every operator imports torch and drops the loaded models. Here the
  packages are registered without their `__init__`, and models stay loaded until `close()`.
- It forks a process pool for every statistic, draws plots without being asked, and leaks their figures. Here the
  statistics are computed in the process, plots are opt-in, and figures are closed.
- Parsing a config takes 0.9 s, most of it to make parsers. Here one parser is made and kept.
- It leaves caches, temporary folders, and a folder for each run. Here all of them are in a staging folder beside the
  result, which is removed; results are moved to their place when they are complete.
"""

from __future__ import annotations

import fnmatch
import importlib
import os
import shutil
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.base import Component, Config, keep_imports
from components.data.importing import import_data_juicer
from components.data.recipe import RECIPE_KEYS, check_dataset, recipe_error
from components.struct_settings import JOB_KEYS
from sandbox_actors.errors import ComponentFailed, ConfigError, Problem, did_you_mean

FAST = {
    "auto_op_parallelism": False,
    "event_logging": {"enabled": False},
    "load_dataset_kwargs": {"num_proc": None},
    "np": None,
    "open_monitor": False,
    "skip_op_error": False,
    "use_cache": False,
}
"""Defaults that a recipe may override: everything in this process, no cache, and a failing operator is an error."""

NOT_ITS_OWN = (*JOB_KEYS, "plots")
"""Keys of our configs that Data-Juicer does not have."""


_COMPILED_PATTERNS: Any = vars(fnmatch)["_compile_pattern"]
"""The standard library caches 32,768 file patterns, and each run adds some with the path of its folder."""


class Juicer:
    """The imported library, with the parser of its configs. One for each process; not for concurrent runs."""

    def __init__(self) -> None:
        import_data_juicer()
        from data_juicer.analysis import ColumnWiseAnalysis, CorrelationAnalysis
        from data_juicer.config import config
        from data_juicer.core import analyzer
        from data_juicer.core.executor import default_executor

        self.Analyzer = analyzer.Analyzer
        self.DefaultExecutor = default_executor.DefaultExecutor
        self._analyzer_module = analyzer
        self._plots = (ColumnWiseAnalysis, CorrelationAnalysis)
        self._set_up = config.init_setup_from_cfg
        self._load_operators = config.load_custom_operators
        self._parser = config.build_base_parser()
        self._parser.exit_on_error = False
        self._own_operators: set[str] = set()
        keep_imports()

    def close(self) -> None:
        """Free the models that operators have loaded."""
        importlib.import_module("data_juicer.utils.model_utils").MODEL_ZOO.clear()

    @contextmanager
    def job(self, recipe: Mapping[str, Any], **defaults: Any) -> Iterator[Job]:
        """Everything that one run needs. The global state is restored at the end of the block.

        The recipe's settings override `defaults`. Raises ConfigError for a recipe that Data-Juicer cannot run. During
        the block, the recipe's export path is a file in a staging folder, from which `deliver()` moves the results.
        """
        own = {key: value for key, value in Config(recipe).as_dict().items() if key not in NOT_ITS_OWN}
        settings = {**FAST, **defaults, **own}
        target = _target(settings)
        check_dataset(settings)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".data-juicer-", dir=target.parent))
        for name in ("result", "cache", "temporary"):
            (staging / name).mkdir()
        settings["export_path"] = str(staging / "result" / target.name)
        settings.setdefault("work_dir", str(staging / "work"))
        if not settings["use_cache"]:
            settings.setdefault("ds_cache_dir", str(staging / "cache"))
        try:
            with _globals_restored(staging):
                self._choose_plots(bool(recipe.get("plots", False)))
                yield Job(self._configure(settings), target, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _choose_plots(self, is_wanted: bool) -> None:
        for real in self._plots:
            setattr(self._analyzer_module, real.__name__, real if is_wanted else _NoPlots)

    def _configure(self, settings: dict[str, Any]) -> Any:
        """A parsed config with checked operators: the same steps as in Data-Juicer's `init_configs`."""
        if settings["np"] in (None, 1):
            # None avoids a pool of one process for every step; but these two settings compute with the number.
            settings["np"] = 1 if settings.get("op_fusion") or settings.get("adaptive_batch_size") else None
        settings["process"] = [_operator(entry) for entry in settings.get("process") or []]
        auto = settings.get("auto", False)
        try:
            # The parser needs --config or --auto; the latter changes nothing else.
            config = self._parser.parse_object({**settings, "auto": True}, env=False)
        except Exception as error:
            raise _explained(error, settings, self._parser) from error
        config.auto = auto
        if config.executor_type != "default":
            raise recipe_error("executor_type", f"{config.executor_type!r} is not supported, only 'default'")
        self._add_operators(config.custom_operator_paths)
        config = self._set_up(config, load_configs_only=True)
        Path(config.work_dir).mkdir(parents=True, exist_ok=True)
        _check_operators(config)
        _choose_cache(config.use_cache)
        return config

    def _add_operators(self, paths: list[str]) -> None:
        for path in map(os.path.abspath, paths or []):
            if path not in self._own_operators:
                self._load_operators([path])
                self._own_operators.add(path)


class RecipeComponent(Component):
    """Base of the components that run a recipe, `config`. `loaded` is Data-Juicer, imported once a process."""

    env = "data-juicer"
    required = ("dataset_path", "export_path")
    reads = ("dataset_path",)
    keys = RECIPE_KEYS

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def load(self) -> Juicer:
        return Juicer()

    def unload(self) -> None:
        if self.loaded is not None:
            self.loaded.close()
        super().unload()


class Job:
    """One run: its parsed `config`, the staging folder of its results, and their `target`."""

    def __init__(self, config: Any, target: Path, staging: Path) -> None:
        self.config = config
        self.target = target
        self._staging = staging

    def load(self, builder: Any) -> Any:
        """The input dataset. Raises ComponentFailed if it has no samples, with which Data-Juicer would fail later."""
        try:
            dataset = builder.load_dataset()
        except StopIteration:
            dataset = []
        except Exception as error:
            reason = error.__cause__ or error
            raise ComponentFailed(f"Data-Juicer cannot read {self.source}: {reason}") from error
        if not len(dataset):
            raise ComponentFailed(f"{self.source} has no samples with text")
        return dataset

    def deliver(self) -> tuple[str | list[str] | None, str | None]:
        """Move the exported files to the recipe's export path.

        Returns the path of the dataset, a list of paths if it was exported in shards, and that of the statistics.
        """
        datasets: list[str] = []
        stats = None
        for made in sorted((self._staging / "result").iterdir()):
            final = self.target.parent / made.name
            os.replace(made, final)
            if made.name.endswith("_stats.jsonl") and made.name != self.target.name:
                stats = str(final)
            else:
                datasets.append(str(final))
        return datasets[0] if len(datasets) == 1 else datasets or None, stats

    def owns(self, path: Path) -> bool:
        """Whether `path` is in the staging folder, which is removed at the end."""
        return self._staging in path.parents

    @property
    def source(self) -> str:
        """The dataset as named in the recipe."""
        return str(self.config.dataset_path or self.config.dataset)


def _target(settings: Mapping[str, Any]) -> Path:
    path = settings.get("export_path")
    if not isinstance(path, str) or not path:
        raise recipe_error("export_path", "missing: the path of the output dataset, for instance out.jsonl")
    if "://" in path:
        raise recipe_error("export_path", f"{path} is not a local path")
    target = Path(path).absolute()
    if target.suffix and target.suffix in str(target.parent):
        # For the path of the statistics, Data-Juicer replaces the suffix wherever it occurs in the path.
        raise recipe_error("export_path", f"Data-Juicer cannot write below a folder with {target.suffix} in its name")
    return target


def _explained(error: Exception, settings: Mapping[str, Any], parser: Any) -> ConfigError:
    """Every unknown key with the nearest known one; if there is none, the parser's error."""
    known = {action.dest.split(".")[0] for action in parser._actions}
    unknown = [key for key in settings if key not in known]
    if not unknown:
        return recipe_error("", " ".join(str(error).split()))
    message = "Data-Juicer has no such setting"
    return ConfigError([Problem("recipe", key, f"{message}{did_you_mean(key, known)}") for key in unknown])


def _operator(entry: Any) -> dict[str, Any]:
    """An entry of `process` as a mapping of the operator's name to its parameters."""
    if isinstance(entry, str):
        return {entry: {}}
    if isinstance(entry, dict) and len(entry) == 1 and isinstance(next(iter(entry.values())), (dict, type(None))):
        return entry
    raise recipe_error("process", f"an entry must be one operator with its parameters below it, not {entry!r}")


def _check_operators(config: Any) -> None:
    from data_juicer.core.preflight import PipelineConfigError, pre_instantiation_check

    try:
        pre_instantiation_check(config.process)
    except PipelineConfigError as error:
        raise ConfigError(
            [Problem("recipe", f"process.{each.op_name}", str(each).split("] ", 1)[-1]) for each in error.errors]
        ) from error


def _choose_cache(is_used: bool) -> None:
    import datasets

    (datasets.enable_caching if is_used else datasets.disable_caching)()


@contextmanager
def _globals_restored(staging: Path) -> Iterator[None]:
    """Restore the working folder, the temporary folder, the environment and the caches, which Data-Juicer and
    `datasets` change."""
    from data_juicer.config.config import update_ds_cache_dir_and_related_vars as move_cache
    from datasets import config, fingerprint

    folder, temporary, cache = os.getcwd(), tempfile.tempdir, config.HF_DATASETS_CACHE
    environ = dict(os.environ)
    fingerprint._TEMP_DIR_FOR_TEMP_CACHE_FILES = SimpleNamespace(name=str(staging / "temporary"))
    try:
        yield
    finally:
        os.chdir(folder)
        for name in [name for name in os.environ if name not in environ]:
            del os.environ[name]
        os.environ.update(environ)
        move_cache(cache)
        tempfile.tempdir, fingerprint._TEMP_DIR_FOR_TEMP_CACHE_FILES = temporary, None
        _COMPILED_PATTERNS.cache_clear()
        urllib.parse.clear_cache()  # type: ignore[attr-defined]
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


class _NoPlots:
    """Replaces the analyses that only make plots."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def analyze(self, *_: Any, **__: Any) -> None: ...
