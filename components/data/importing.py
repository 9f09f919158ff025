"""How Data-Juicer is imported here: without what it does not need, and kept from what a worker must not do."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from multiprocessing.dummy import Pool as ThreadPool
from typing import Any

from sandbox_actors.errors import ComponentFailed

_TALKATIVE = ("data_juicer.config.config", "data_juicer.core.executor.event_logging_mixin")
"""Modules that warn of settings which were chosen here on purpose."""


def import_data_juicer() -> None:
    """Import Data-Juicer so that it installs nothing, forks no pools, keeps its models, and asks for neither ray nor
    torch. Calling it again changes nothing."""
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
    overall_analysis.Pool = ThreadPool
    dj_dataset: Any = importlib.import_module("data_juicer.core.data.dj_dataset")
    dj_dataset.generate_fingerprint = _where_there_is_a_cache(dj_dataset.generate_fingerprint)
    exporter: Any = importlib.import_module("data_juicer.core.exporter").Exporter
    exporter._ensure_meta_stats_dicts_for_export = staticmethod(
        _where_there_is_text(exporter._ensure_meta_stats_dicts_for_export)
    )
    importlib.import_module("data_juicer.utils.datasets_json_compat").apply_stdlib_json_patch_for_datasets()


def _enter(name: str, exports: Mapping[str, str]) -> None:
    """Make a package known without running its `__init__`; the classes it exports are imported when asked for."""
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
        f"Data-Juicer asks for the package {package!r}, which its env lacks, and an env does not change under a run; "
        f"add it to the deps of the job's env"
    )


def _keep_models(*_: Any, **__: Any) -> None:
    """In place of Data-Juicer's `free_models`, which also imports torch."""


def _without_empty_pass(run: Callable[..., Any]) -> Callable[..., Any]:
    """The analyzer takes the condition away from a filter, and it then goes over all samples to keep each of them."""

    @functools.wraps(run)
    def run_filter(self: Any, dataset: Any, *, reduce: bool = True, **kwargs: Any) -> Any:
        return run(self, dataset, reduce=reduce and self.process is not None, **kwargs)

    return run_filter


def _where_there_is_a_cache(generate: Callable[..., str]) -> Callable[..., str]:
    """The fingerprint of a step, by which its result is found again, is made of everything the step is made of, which
    takes longer than a step over a small dataset. Without a cache any name will do."""
    datasets: Any = importlib.import_module("datasets")

    @functools.wraps(generate)
    def fingerprint(*args: Any, **kwargs: Any) -> str:
        return generate(*args, **kwargs) if datasets.is_caching_enabled() else secrets.token_hex(8)

    return fingerprint


def _where_there_is_text(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The exporter goes over all samples to parse statistics that may be text, which in Arrow they are all or none."""

    @functools.wraps(parse)
    def parse_statistics(dataset: Any) -> Any:
        is_text = any("string" in str(getattr(column, "dtype", "")) for column in dataset.features.values())
        return parse(dataset) if is_text else dataset

    return parse_statistics


def _quieten_log() -> None:
    """One short line a step on stderr."""
    logger: Any = importlib.import_module("loguru").logger
    logger.remove()
    logger.add(
        lambda line: sys.stderr.write(line),
        format="{time:HH:mm:ss} {level} {message}",
        filter={"": "INFO", **dict.fromkeys(_TALKATIVE, "ERROR")},
    )
