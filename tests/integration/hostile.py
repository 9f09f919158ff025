"""Components for tests. `Hostile` does, as `how` says, what may break its process, and returns "done" if it can."""

from __future__ import annotations

import asyncio
import collections
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

from components.base import BaseModelExecutor

SURROGATE = os.fsdecode(b"caf\xe9.txt")
"""The name of a file that is not UTF-8."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Silent:
    """Has no text and no list."""

    def tolist(self) -> Any:
        raise OSError("no list")

    def __repr__(self) -> str:
        raise ValueError("no text")


class OwnStop(BaseException):
    """Not an Exception."""


class Words(str):
    """As numpy has a text of its own."""


RESULTS: dict[str, Any] = {
    "large": lambda: "x" * 20_000_000,
    "large output of several": lambda: ("small", "x" * 5_000_000),
    "surrogate": lambda: {"path": SURROGATE},
    "surrogate key": lambda: {SURROGATE: 1},
    "surrogate path": lambda: pathlib.Path(SURROGATE),
    "same keys": lambda: {1: "a", "1": "b"},
    "long integer": lambda: 10**5_000,
    "silent": Silent,
    "generator": lambda: (number for number in range(3)),
    "bytes": lambda: b"bytes",
    "own text": lambda: Words("done"),
    "nan": lambda: [float("nan"), float("inf")],
    "nan key": lambda: {float("nan"): "done"},
}

ERRORS: dict[str, Any] = {
    "surrogate": lambda: OSError(f"no such file: {SURROGATE}"),
    "half a character": lambda: ValueError("\ud800"),
    "large": lambda: ValueError("x" * 20_000_000),
    "without text": Unspeakable,
    "own class": lambda: OwnStop("stop"),
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "exit with an object": lambda: SystemExit(Silent()),
}


class Hostile(BaseModelExecutor):
    async def run(self, run_type: str = "", **kwargs: Any) -> Any:
        how = self.model_config["how"]
        kind, _, name = how.partition(": ")
        if kind == "return":
            return RESULTS[name]()
        if kind == "raise":
            raise ERRORS[name]()
        if kind == "watch":
            return self._watch(name)
        getattr(self, f"_{kind}")()
        return "done"

    def _watch(self, name: str) -> str:
        watch = self.watcher.watch
        if name == "odd":
            watch(SURROGATE, "value", step=1)
            watch(1, SURROGATE, step=1)
            watch({SURROGATE: 1}, "mapping", step=1)
            watch(2**63, "integer", step=Step(1))
            watch(1, 7, step=1)  # type: ignore[arg-type]
            watch("x" * 20_000_000, "large", step=1)
            watch(1, "n" * 20_000_000, step=1)
        for step in (0.5, float("nan"), 2**70, "first", Silent()) if name == "steps" else ():
            try:
                watch(1, "stepped", step=step)  # type: ignore[arg-type]
            except Exception as error:
                print(f"refused: {error}")
        watch(1, "last", step=1)
        return "done"

    def _forks(self) -> None:
        """Returns in the child too, which a component does by mistake."""
        if (child := os.fork()) == 0:
            self.watcher.watch(1, "of the child", step=1)
            print("in the child")
            return
        os.waitpid(child, 0)

    def _forks_and_exits(self) -> None:
        if (child := os.fork()) == 0:
            sys.exit(7)
        print(f"status {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")

    def _forks_and_raises(self) -> None:
        if (child := os.fork()) == 0:
            raise ValueError("in the child only")
        print(f"status {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")

    def _closes_outputs(self) -> None:
        os.close(1)
        os.close(2)

    def _closes_all(self) -> None:
        os.closerange(3, 200)

    def _replaces_streams(self) -> None:
        sys.stdout, sys.stderr = None, collections.OrderedDict()  # type: ignore[assignment]

    def _replaces_streams_and_raises(self) -> None:
        self._replaces_streams()
        os.close(2)
        raise ValueError("with no stream")

    def _loses_its_folder(self) -> None:
        folder = pathlib.Path(self.model_config["folder"])
        folder.mkdir()
        os.chdir(folder)
        folder.rmdir()

    def _changes_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)


class Step:
    """A whole number as numpy and torch have it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __int__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return other == self.number

    __hash__ = None  # type: ignore[assignment]


class WatchesTooMuch(BaseModelExecutor):
    """Its lines become more than a message can hold, and then one metric."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        print("many\nlong\nraise\nlast")
        return "done"

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line == "many":
            self.watcher.watch({f"{number}": 1 for number in range(100_000)}, "many", step=1)
        if line == "long":
            for number in range(1_000):
                self.watcher.watch("é" * 30_000, f"long{number}", step=1)
        if line == "raise":
            raise ValueError(SURROGATE + "x" * 20_000_000)
        self.watcher.watch(1, line, step=1)


class Takes:
    """Returns how many characters its inputs have."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> int:
        return sum(len(value) for key, value in self.config.items() if key.startswith("text"))


class Makes:
    """Returns a text of `size` characters, after `seconds`."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> str:
        time.sleep(self.config.get("seconds", 0))
        return "x" * int(self.config["size"])


class Tells:
    """Returns the text of `value` as Python has it."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> str:
        return repr(self.config["value"])


class LeavesStray:
    """Leaves a process running that has no parent, session, group or environment of ours, and writes its pid to the
    file `stray`. Then it does what `then` says."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> str:
        stray = self.config["stray"]
        code = f"(setsid sh -c 'echo $$ > {stray}.new; mv {stray}.new {stray}; exec sleep 617' &)"
        path = os.environ["PATH"]
        subprocess.run(["env", "-i", f"PATH={path}", "setsid", "sh", "-c", code], check=True)
        while not os.path.exists(stray):
            time.sleep(0.01)
        if self.config["then"] == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        while self.config["then"] == "waits" and not os.path.exists(f"{stray}.gate"):
            time.sleep(0.01)
        return "done"
