"""Runs in a component env: hosts one component class as a worker does, without a daemon.

`python host.py module:Class`. Standard input and output carry one JSON object a line: `{"config", "args"}` in,
`{"result", "error", "log", "watched", "rss", "modules", "cwd", "state"}` out. As in a worker, `load()` is called once,
what a run writes to file descriptors 1 and 2 goes to a log, and a log watcher's instance reads that log afterwards.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
import tempfile
import threading
from typing import Any

from components.base import Config
from sandbox_actors.worker.host import release_memory

HEAVY = ("ray", "torch", "matplotlib", "data_juicer", "transformers", "datasets", "wandb")


class Recorder:
    def __init__(self) -> None:
        self.watched: list[Any] = []

    def watch(self, res: Any, meta_name: str = "", step: int | None = None) -> None:
        self.watched.append([res, meta_name, step])

    def query(self, meta_name: str) -> Any:
        return None


def main() -> None:
    module, _, name = sys.argv[1].partition(":")
    kind = getattr(importlib.import_module(module), name)
    answers = os.fdopen(os.dup(1), "w")
    loaded: list[Any] = []
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            answer = run(kind, asked, loaded)
            sys.stdout.flush()
            sys.stderr.flush()
            log.seek(0)
            answer["log"] = log.read().decode()
        answer["watched"] = watched(kind, asked, answer["log"])
        answer["rss"] = resident_bytes()
        answer["modules"] = [heavy for heavy in HEAVY if heavy in sys.modules]
        answer["cwd"] = os.getcwd()
        answer["state"] = state()
        print(json.dumps(answer), file=answers, flush=True)


def run(kind: Any, asked: dict[str, Any], loaded: list[Any]) -> dict[str, Any]:
    instance = make(kind, asked, Recorder())
    try:
        if not loaded:
            loaded.append(instance.load())
        instance.loaded = loaded[0]
        result = instance.run(*asked["args"])
        return {"result": asyncio.run(result) if inspect.iscoroutine(result) else result, "error": None}
    except Exception as error:
        return {"result": None, "error": f"{type(error).__name__}: {error}"}
    finally:
        del instance
        release_memory()


def watched(kind: Any, asked: dict[str, Any], log: str) -> list[Any]:
    recorder = Recorder()
    watcher = make(kind, asked, recorder)
    for line in log.replace("\r", "\n").split("\n") if hasattr(watcher, "_watch_run") else ():
        watcher._watch_run(line)
    return recorder.watched


def make(kind: Any, asked: dict[str, Any], recorder: Recorder) -> Any:
    config = Config(asked["config"])
    return kind(config, watcher=recorder) if "watcher" in inspect.signature(kind).parameters else kind(config)


def state() -> dict[str, Any]:
    """What all runs of a process share, and a run could change."""
    return {
        "environ": dict(os.environ),
        "temporary folder": tempfile.tempdir,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "streams": [sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
    }


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
