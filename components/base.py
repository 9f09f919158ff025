"""The base classes of components. Method names are those of Data-Juicer Sandbox: a class written for it runs here.

A component runs in its own worker process. For every run the worker makes an instance from the run's config, redirects
file descriptors 1 and 2 to the run's log, and calls `run`. `load()` makes what is expensive, once per process and
model; the worker keeps its result, and passes it to every later instance as `loaded`. `run` must restore whatever it
changes in it, because a warm run gives bit for bit the results of a cold run.
"""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sandbox_actors.errors import ComponentFailed

if TYPE_CHECKING:
    import msgspec


class Config(dict[str, Any]):
    """A component's config: a dict whose keys are attributes too, at every depth, also inside lists.

    `config.train.lr`, `config["train"]["lr"]` and `config.get("train")` are the same, so that code written for
    dicts and code written for namespaces both work. A missing key raises AttributeError as an attribute and KeyError
    as an item. A key that is also a method of dict (`items`) can only be read as an item.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        super().__init__()
        self.update(values or {}, **more)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, _configured(value))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the config has no key {name!r}; it has {', '.join(self) or 'none'}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"the config has no key {name!r}") from None

    def update(self, values: Any = (), /, **more: Any) -> None:
        for key, value in dict(values, **more).items():
            self[key] = value

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def __or__(self, other: Any) -> Config:  # type: ignore[override]
        return Config({**self, **other})

    def clone(self) -> Config:
        """A copy that shares only the leaves."""
        return Config(self.as_dict())

    copy = clone

    def as_dict(self) -> dict[str, Any]:
        """The same values in plain dicts and lists."""
        return {key: _plain(value) for key, value in self.items()}


def _configured(value: Any) -> Any:
    if isinstance(value, Mapping) and not isinstance(value, Config):
        return Config(value)
    return [_configured(each) for each in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.as_dict()
    return [_plain(each) for each in value] if isinstance(value, list) else value


class Watcher(Protocol):
    """Records a component's metrics. Both calls return when the daemon has answered."""

    def watch(self, res: Any, meta_name: str = "", step: int | None = None) -> None:
        """Record a number, a string, or a mapping of them (flattened with dots). Without a step it is a result."""

    def query(self, meta_name: str) -> Any:
        """The newest value recorded under that name in this experiment, or None."""


class Component:
    """What every component declares of itself, and how it stays warm.

    The attributes are read before anything runs: for a component of this project by importing its module, for a user's
    own class from its source, where they must be literals.

    env            the env spec that it runs in, unless its job names another one
    settings_type  a Struct of its config: the keys, their types, and which of them are required
    required       dotted config keys that it cannot run without, besides those that `settings_type` requires
    reads          config keys that name files or folders it reads, one path or a list of them
    keys           its config keys if it has no `settings_type`; empty: it accepts any
    model_fields   dotted config keys that identify what `load()` makes: while their values are the same, it is reused
    secrets        dotted config keys under which people write API keys, which no file should contain
    needs_gpu      its env is of no use without a GPU
    is_light       its process starts in a fraction of a second and holds nothing that is worth keeping warm

    `load` and `unload` are called by the worker; a component without a model defines neither.
    """

    env: ClassVar[str] = ""
    settings_type: ClassVar[type[msgspec.Struct] | None] = None
    required: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    keys: ClassVar[tuple[str, ...]] = ()
    model_fields: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()
    needs_gpu: ClassVar[bool] = False
    is_light: ClassVar[bool] = False

    loaded: Any = None

    def load(self) -> Any:
        """Make what later runs share, such as imports and a model. Called once per process and model."""
        return None

    def unload(self) -> None:
        """Free what `load()` made, before another model is loaded or the process ends."""
        self.loaded = None


def keep_imports() -> None:
    """Exclude everything that exists now from garbage collection, for the life of the process.

    For a `load()` that has just imported a large library: each later collection, at least one a run, takes a tenth to
    a quarter of a second less. What `unload()` frees must be made after this call.
    """
    gc.collect()
    gc.freeze()


class BaseModelExecutor(Component):
    """Trains a model, or infers with one.

    Two processes share the work. The worker awaits `run`, which calls `_run`: its prints go to the run's log, as does
    the output of C code and child processes. The log watcher is another process, with another instance that never
    loads anything: it passes each complete line of the log to `_watch_run`, which calls `self.watcher.watch` with the
    metrics in it. So metrics arrive while `_run` holds the interpreter, and those of the last lines before a crash too.
    """

    def __init__(self, model_config: Any, watcher: Watcher | None = None) -> None:
        self.model_config = model_config
        self.watcher = watcher
        self.executor: Any = None

    async def run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> Any:
        """Do the work. The result is recorded as the job's output; a tuple is several outputs."""
        return await self._run(run_type, run_obj, **kwargs)

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define `async _run(self, run_type, run_obj)`")

    async def watch_run(self, lines: Iterable[str], **kwargs: Any) -> None:
        """Record the metrics in the lines of a log, for use without a daemon."""
        for line in lines:
            self._watch_run(line, **kwargs)

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        """Record the metrics in one complete line of the log. Default: nothing."""

    def data_connector(self, input_data: Any, **kwargs: Any) -> Any:
        """Convert a dataset from Data-Juicer's format to that of the model's framework. Default: unchanged."""
        return input_data

    def run_subprocess(self, script_path: str, run_args: Iterable[Any], working_dir: str, cmd: str = "bash") -> None:
        """Run a script, with its output in the run's log. Raises ComponentFailed unless it exits with status 0."""
        command = [cmd, str(script_path), *(str(arg) for arg in run_args)]
        try:
            status = subprocess.run(command, cwd=working_dir, stdin=subprocess.DEVNULL, check=False).returncode
        except OSError as error:
            raise ComponentFailed(f"cannot start {' '.join(command)} in {working_dir}: {error}") from error
        if status:
            how = f"exited with status {status}" if status > 0 else f"was killed by signal {-status}"
            raise ComponentFailed(f"{' '.join(command)} {how}, in {working_dir}; its last lines are in the run's log")


class BaseEvaluator(Component):
    """Measures data or a model."""

    def __init__(self, eval_config: Any) -> None:
        self.eval_config = eval_config

    def run(self, eval_type: str, eval_obj: Any = None, **kwargs: Any) -> Any:
        """`eval_type` is `data` or `model`. Returns a number or a mapping of numbers, which become results."""
        raise NotImplementedError(f"{type(self).__name__} must define `run(self, eval_type, eval_obj)`")


class BaseDataPoolManipulator(Component):
    """Makes datasets from datasets, or from anything else. Also the base of general data executors."""

    def __init__(self, data_pool_cfg: Any) -> None:
        self.data_pool_cfg = data_pool_cfg

    def run(self) -> Any:
        """Returns the written path, or the list of paths; a tuple is several outputs."""
        raise NotImplementedError(f"{type(self).__name__} must define `run(self)`")


class BaseHook(Component):
    """A user's own hook: does a whole job itself, with both configs of the job and the watcher."""

    def __init__(self, job_cfg: Any, watcher: Watcher | None = None, *args: Any, **kwargs: Any) -> None:
        self.job_cfg = job_cfg
        self.watcher = watcher
        self.dj_cfg = job_cfg.get("dj_configs")
        self.extra_cfg = job_cfg.get("extra_configs")

    def run(self) -> Any:
        """Do the work. The result is recorded as the job's output; a tuple is several outputs."""
        return self.hook()

    def hook(self, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define `hook(self)`")
