"""Runs one component in the main thread of a worker, one task of the daemon after the other.

Theory of operation. The main thread runs components, because many libraries insist on it, and because signals arrive
there. The thread of the link (`link.py`) answers the daemon meanwhile: `Rejoin` and anything that cannot be decoded are
answered there, and every other task waits in the queue until the main thread is free. Threads that a component starts
may call its watcher at any time; they share the link with the host.

- A run is: standard output and error go to its log, the class is imported, built and called, the model is loaded if the
  process does not hold it yet, and the result is converted to plain values. The loaded model stays for the next run
  that wants the same `model_key`.
- The end of a run is written to its folder first and then sent: whichever of the two processes is killed in between,
  the result is not lost. If the disk does not take it, the link holds the answer in memory.
- Nothing that a component raises ends the worker, whatever its class: it is the answer.
- A component may fork and, by mistake or on purpose, return in the child: that process ends there. Only the process
  that the daemon started answers.

Guaranteed: one task at a time; every task is answered once; a result that was sent is one that was completed.

What failed: taking the exit status for the result. `Popen.wait` returns 0 for an exit status of 7 when something else
has reaped the process. So a run has succeeded only when its result has arrived.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import inspect
import os
import sys
import time
import traceback
from contextlib import suppress
from typing import Any

from components.base import Config
from sandbox_actors.errors import ComponentFailed, SandboxError
from sandbox_actors.protocol.faults import fault_of
from sandbox_actors.protocol.run_files import Ended
from sandbox_actors.protocol.texts import text_of
from sandbox_actors.protocol.worker_requests import ComponentRef, Exit, Followed, FollowLog, Outcome, Run
from sandbox_actors.worker.link import DaemonLink
from sandbox_actors.worker.log_follower import LogFollower
from sandbox_actors.worker.output_capture import capture_output
from sandbox_actors.worker.package_import import import_package
from sandbox_actors.worker.plain_values import outcome_of
from sandbox_actors.worker.run_journal import write_result
from sandbox_actors.worker.run_watcher import LogRunWatcher, RunWatcher


class Host:
    """Keeps what `load()` returned between runs, as long as they want the same model."""

    def __init__(self, link: DaemonLink) -> None:
        self._link = link
        self._model_key: str | None = None
        self._loaded: Any = None
        self._pid = os.getpid()

    def serve(self) -> None:
        """Do what the daemon asks until it asks to exit."""
        gc.freeze()  # the worker's own objects are not scanned again after each run
        while True:
            asked = self._link.next_task()
            if asked is None:
                continue
            number, task = asked
            try:
                answer = self._handle(task)
            except BaseException as error:  # of a component, which may raise any
                self._link.fail(number, error, _write_result(task, Ended(fault=fault_of(error))))
            else:
                is_kept = not isinstance(answer, Outcome) or _write_result(task, Ended(outcome=answer))
                self._link.reply(number, answer, is_kept)
            if isinstance(task, Exit):
                return
            release_memory()  # after the answer: the caller does not wait for it

    def _handle(self, task: Any) -> Outcome | Followed | None:
        if isinstance(task, Run):
            return self._run(task)
        if isinstance(task, FollowLog):
            return self._follow(task)
        return None  # Ping, Exit, or EndLog: the run ended before this log watcher was asked to follow it

    def _run(self, task: Run) -> Outcome:
        os.chdir(task.cwd)
        with capture_output(task.log):
            try:
                kind = component_class(task.component)
                instance = build(kind, task.config, RunWatcher(self._link, task.run, task.folder))
                load_seconds = self._load(instance, task.model_key)
                has_model = hasattr(instance, "load")
                self._link.model_key = self._model_key if has_model else ""
                result = call(instance, task.args, task.kwargs)
                self._end_forked_child(None)
                return outcome_of(result, load_seconds, has_model)
            except BaseException as error:
                self._end_forked_child(error)
                raise _failure(error, task.log) from error
            finally:
                instance = None  # the traceback of an error refers to this frame, and would keep the instance in memory

    def _load(self, instance: Any, model_key: str) -> float | None:
        """Give `instance` the loaded model. Returns the seconds that loading took, None if nothing had to be loaded."""
        if not hasattr(instance, "load"):
            return None
        if self._model_key == model_key:
            instance.loaded = self._loaded
            return None
        self._unload(instance)
        started = time.monotonic()
        self._loaded = instance.loaded = instance.load()
        self._model_key = model_key
        return time.monotonic() - started

    def _unload(self, instance: Any) -> None:
        if self._model_key is None:
            return
        instance.loaded, self._loaded, self._model_key = self._loaded, None, None
        if hasattr(instance, "unload"):
            instance.unload()
        instance.loaded = None
        gc.collect()

    def _follow(self, task: FollowLog) -> Followed:
        os.chdir(task.cwd)
        kind = component_class(task.component)
        watcher = LogRunWatcher(self._link, task.run)
        component = build(kind, task.config, watcher) if hasattr(kind, "_watch_run") else None
        return LogFollower(self._link, task, component, watcher).follow()

    def _end_forked_child(self, error: BaseException | None) -> None:
        """End this process if a component has forked it, as its `run` has ended here too."""
        if os.getpid() == self._pid:
            return
        status = 0 if error is None else 1
        if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            status = error.code or 0
        elif error is not None:
            os.write(2, _trace_of(error))
        os._exit(status & 0xFF)


def _failure(error: BaseException, log: str) -> SandboxError:
    """The error to answer with. Its traceback is written to the log, whatever the component has made of `sys.stderr`
    and descriptor 2."""
    trace = _trace_of(error)
    with suppress(OSError), open(log, "ab") as file:
        file.write(trace)
    if isinstance(error, SandboxError):
        return error
    kind, text = type(error).__name__, text_of(error)
    message = f"{kind}: {text}" if text else kind
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, (int, str)) else type(error.code).__name__
        message = f"the component called sys.exit({code!r}) instead of returning a result"
    return ComponentFailed(message, remote_type=kind, remote_traceback=trace.decode())


def _trace_of(error: BaseException) -> bytes:
    """The traceback without this file's frames, as text that can be written."""
    first = error.__traceback__
    while first is not None and first.tb_frame.f_code.co_filename.startswith(os.path.dirname(__file__)):
        first = first.tb_next
    text = "".join(traceback.format_exception(type(error), error, first or error.__traceback__))
    return text.encode("utf-8", "backslashreplace")


def _write_result(task: Any, ended: Ended) -> bool:
    """Write the end of a run to its folder. False if that fails, or the task is not a run with a folder."""
    return isinstance(task, Run) and bool(task.folder) and write_result(task.folder, ended)


def component_class(component: ComponentRef) -> Any:
    """Import the class that `component` names, after adding its folders to `sys.path`."""
    for path in reversed(component.paths):  # so that the first one is searched first
        if path not in sys.path:
            sys.path.insert(0, path)
    if component.package:
        import_package(component.package)
    module, _, name = component.target.partition(":")
    return getattr(importlib.import_module(module), name)


def build(kind: Any, config: Any, watcher: RunWatcher) -> Any:
    """`kind(config)`, with the watcher if its constructor takes one."""
    configured = Config(config) if isinstance(config, dict) else config
    if "watcher" in inspect.signature(kind).parameters:
        return kind(configured, watcher=watcher)
    return kind(configured)


def call(instance: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The result of `instance.run(...)`; a coroutine is run with asyncio."""
    result = instance.run(*args, **kwargs)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def release_memory() -> None:
    """Collect garbage, and have the C library return its free pages to the system. Otherwise the process grows with
    each run, because new allocations do not fit exactly into the pages that the last run freed."""
    gc.collect()
    with suppress(AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)
