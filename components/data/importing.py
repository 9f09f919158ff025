"""Imports Data-Juicer without modules that it does not need, and prevents what a worker must not do."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import Any

from sandbox_actors.errors import ComponentFailed

_VERBOSE = ("data_juicer.config.config", "data_juicer.core.executor.event_logging_mixin")
"""Modules that warn about settings that are set here on purpose."""


def import_data_juicer() -> None:
    """Import Data-Juicer so that it installs nothing, forks no pools, keeps its models, and imports neither ray nor
    torch. Further calls do nothing."""
    if "data_juicer.core" in sys.modules:
        return
    os.environ.setdefault("MPLBACKEND", "Agg")
    lazy_loader = importlib.import_module("data_juicer.utils.lazy_loader")
    lazy_loader.LazyLoader._install_package = classmethod(_refuse_to_install)
    _quieten_log()
    _enter("data_juicer.core", {"Analyzer": "analyzer", "DefaultExecutor": "executor.default_executor"})
    _enter("data_juicer.core.executor", {"ExecutorBase": "base", "DefaultExecutor": "default_executor"})
    base_op: Any = importlib.import_module("data_juicer.ops.base_op")
    base_op.free_models = _keep_models
    base_op.Filter.run = _without_empty_pass(base_op.Filter.run)
    overall_analysis: Any = importlib.import_module("data_juicer.analysis.overall_analysis")
    overall_analysis.Pool = importlib.import_module("multiprocessing.dummy").Pool
    dj_dataset: Any = importlib.import_module("data_juicer.core.data.dj_dataset")
    dj_dataset.generate_fingerprint = _where_there_is_a_cache(dj_dataset.generate_fingerprint)
    exporter: Any = importlib.import_module("data_juicer.core.exporter").Exporter
    exporter._ensure_meta_stats_dicts_for_export = staticmethod(
        _where_there_is_text(exporter._ensure_meta_stats_dicts_for_export)
    )
    importlib.import_module("data_juicer.utils.datasets_json_compat").apply_stdlib_json_patch_for_datasets()


def _enter(name: str, exports: Mapping[str, str]) -> None:
    """Register a package without running its `__init__`; its exported classes are imported on access."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ComponentFailed(f"this Data-Juicer has no {name}; the components are written for py-data-juicer 1.6.1")
    package = importlib.util.module_from_spec(spec)

    def find(attribute: str) -> Any:
        if attribute not in exports:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        return getattr(importlib.import_module(f"{name}.{exports[attribute]}"), attribute)

    package.__dict__["__getattr__"] = find
    sys.modules[name] = package
    parent, _, own = name.rpartition(".")
    setattr(sys.modules[parent], own, package)


def _refuse_to_install(_: type, package: str, pip_args: Any = None) -> None:
    raise ImportError(
        f"Data-Juicer needs the package {package!r}, which is not in its env, and an env must not change during a run; "
        f"add it to the deps of the job's env"
    )


def _keep_models(*_: Any, **__: Any) -> None:
    """Replaces Data-Juicer's `free_models`, which also imports torch."""


def _without_empty_pass(run: Callable[..., Any]) -> Callable[..., Any]:
    """The analyzer removes the condition of a filter, which would then process all samples to keep each of them."""

    @functools.wraps(run)
    def run_filter(self: Any, dataset: Any, *, reduce: bool = True, **kwargs: Any) -> Any:
        return run(self, dataset, reduce=reduce and self.process is not None, **kwargs)

    return run_filter


def _where_there_is_a_cache(generate: Callable[..., str]) -> Callable[..., str]:
    """The fingerprint of a step identifies its result in the cache. It is slower to compute than a step over a small
    dataset is. Without a cache, any name is as good."""
    datasets: Any = importlib.import_module("datasets")

    @functools.wraps(generate)
    def fingerprint(*args: Any, **kwargs: Any) -> str:
        return generate(*args, **kwargs) if datasets.is_caching_enabled() else secrets.token_hex(8)

    return fingerprint


def _where_there_is_text(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The exporter processes all samples to parse statistics that are text; but in Arrow, a whole column is text."""

    @functools.wraps(parse)
    def parse_statistics(dataset: Any) -> Any:
        is_text = any("string" in str(getattr(column, "dtype", "")) for column in dataset.features.values())
        return parse(dataset) if is_text else dataset

    return parse_statistics


def _quieten_log() -> None:
    """Log one short line for each step on stderr."""
    logger: Any = importlib.import_module("loguru").logger
    logger.remove()
    logger.add(
        lambda line: sys.stderr.write(line),
        format="{time:HH:mm:ss} {level} {message}",
        filter={"": "INFO", **dict.fromkeys(_VERBOSE, "ERROR")},
    )
