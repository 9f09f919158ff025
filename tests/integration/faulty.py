"""Components for tests, one behaviour each. They run in workers, which have only the standard library."""

from __future__ import annotations

import ctypes
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import uuid
from typing import Any

from components.base import BaseModelExecutor, Component


class Returns:
    """Returns `value`; with `as_tuple`, its elements as several outputs."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> Any:
        value = self.config["value"]
        return tuple(value) if self.config.get("as_tuple") else value


class ReturnsLarge:
    """Returns a text of `size` characters."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> str:
        return "x" * int(self.config["size"])


class Adds:
    """Prints and returns `value` + 1 and its `export_path`."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> Any:
        print(f"{self.config['value']} and 1")
        return self.config["value"] + 1, self.config.get("export_path")


class Meets:
    """Creates the file `mine` and waits for the file `other`."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> str:
        pathlib.Path(self.config["mine"]).touch()
        while not os.path.exists(self.config["other"]):
            time.sleep(0.01)
        return "met"


class Loads(Component):
    """Returns its pid and how often this process has loaded a model."""

    loads = 0

    def __init__(self, config: Any) -> None:
        self.config = config

    def load(self) -> Any:
        Loads.loads += 1
        return self.config["model"]

    def run(self) -> Any:
        return os.getpid(), Loads.loads, self.loaded


class Fails:
    """Fails as `how` says, the first `times` times; the file `counter` counts them."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> str:
        if self._count() > self.config.get("times", 1_000_000):
            return "recovered"
        print("about to fail")
        sys.stdout.flush()
        how = self.config["how"]
        if how == "raise":
            raise ValueError("the data are \x1b[31mwrong\x1b[0m")
        if how == "at length":
            raise ValueError(f"begins {'x' * 1_000_000} ends")
        if how == "exit":
            os._exit(0)
        if how == "sys.exit":
            sys.exit(3)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if how == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == "unrecordable":
            return self  # type: ignore[return-value]
        time.sleep(600)
        return "slept"

    def _count(self) -> int:
        if "counter" not in self.config:
            return 1
        with open(self.config["counter"], "a+b") as file:
            file.write(b".")
            return file.tell()


class Hangs:
    """Starts children, one of them in its own session, creates the file `ready`, and waits."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> None:
        subprocess.Popen(["sleep", "613"])
        subprocess.Popen(["setsid", "-f", "sleep", "613"])
        pathlib.Path(self.config["ready"]).touch()
        time.sleep(600)


class Trains(BaseModelExecutor):
    """Prints a loss for each step. With `gate`, waits before the last step until that file exists."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        steps = self.model_config["steps"]
        for step in range(1, steps + 1):
            if step == steps and "gate" in self.model_config:
                while not os.path.exists(self.model_config["gate"]):
                    time.sleep(0.01)
            print(f"step {step} loss={1 / step:.4f}")
        return run_type

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("step "):
            _, step, loss = line.split()
            self.watcher.watch(float(loss.removeprefix("loss=")), "loss", step=int(step))


class Steps(BaseModelExecutor):
    """Reports each step twice: printed, and watched from its own process. Before the last one it creates the file
    `ready` and waits for `gate`, holding the GIL for `gil` seconds. Returns its pid."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> int:
        steps, gate = self.model_config["steps"], self.model_config.get("gate")
        for step in range(1, steps + 1):
            if step == steps and gate is not None:
                pathlib.Path(self.model_config["ready"]).touch()
                ctypes.PyDLL(None).sleep(self.model_config.get("gil") or 0)
                while not os.path.exists(gate):
                    time.sleep(0.01)
            print(f"step {step}")
            self.watcher.watch(step, "watched", step=step)
        return os.getpid()

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("step "):
            self.watcher.watch(int(line.split()[1]), "printed", step=int(line.split()[1]))


class FailsLate(BaseModelExecutor):
    """Creates the file `ready`, waits for `gate`, and raises."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> int:
        pathlib.Path(self.model_config["ready"]).touch()
        while not os.path.exists(self.model_config["gate"]):
            time.sleep(0.01)
        raise ValueError("late")


class LeavesChildren:
    """Leaves children running, one of them in its own session; if it `dies`, they outlive its process."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> None:
        subprocess.Popen(["sleep", "615"])
        subprocess.Popen(["setsid", "-f", "sleep", "615"])
        if self.config.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)


class Chaotic(BaseModelExecutor):
    """Reports each step twice, printed and watched, under a name that is unique to the attempt. Returns that name."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        name = uuid.uuid4().hex
        for step in range(1, self.model_config["steps"] + 1):
            print(f"step {name} {step}")
            self.watcher.watch(name, "watched", step=step)
            time.sleep(0.01)
        return name

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("step "):
            _, name, step = line.split()
            self.watcher.watch(name, "printed", step=int(step))


class Prints(BaseModelExecutor):
    """Writes in every possible way, and ends in the middle of a line."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> None:
        print("m: python")
        sys.stderr.write("m: stderr\n")
        os.write(1, b"m: descriptor\r")
        os.write(2, b"m: bad \xff utf-8\r\n")
        subprocess.run(["sh", "-c", "echo m: child; (echo m: grandchild) &"], check=True)
        os.write(2, b" 50%|#####     | 5/10 [00:01<00:01, 5.0it/s]m: after a bar\n")
        print("m: " + "x" * 3_000_000)
        print("m: no end", end="")

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("m: "):
            self.watcher.watch(line[3:40], "seen", step=1)


class WatchesBadly(BaseModelExecutor):
    """Its `_watch_run` raises at the second line."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        print("1\nno number\n3")
        return "trained"

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        self.watcher.watch(int(line), "number", step=1)


class Queries:
    """Watches a result, and queries it and one that does not exist."""

    def __init__(self, config: Any, watcher: Any) -> None:
        self.config, self.watcher = config, watcher

    def run(self) -> Any:
        self.watcher.watch({"deep": {"er": 0.5}, "word": "yes"}, "queried")
        return self.watcher.query("queried.deep.er"), self.watcher.query("never.watched")


class Hoards:
    """Allocates `mib` MiB, in a child process if `in_child`, in the control group of the file `group`, and waits."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> None:
        if "group" in self.config:
            pathlib.Path(self.config["group"]).write_text(str(os.getpid()))
        print("fills its memory")
        sys.stdout.flush()
        code = f"import time; held = b'x' * ({self.config['mib']} << 20); time.sleep(600)"
        if self.config.get("in_child"):
            subprocess.run([sys.executable, "-c", code], check=True)
        exec(code)


class HoardsLate(Hoards):
    """As `Hoards`, once the file `gate` exists."""

    def run(self) -> None:
        while not os.path.exists(self.config["gate"]):
            time.sleep(0.01)
        super().run()


class Environ:
    """Returns the values of the environment variables `names`."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self) -> Any:
        return [os.environ.get(name) for name in self.config["names"]]


class Counts(BaseModelExecutor):
    """Prints the numbers below `count`, a hundred at a time with `pause` seconds between, and watches their sum, which
    is only correct if every line before it was seen. Fails at the end unless the file `once` exists, and creates it.
    """

    def __init__(self, model_config: Any, watcher: Any = None) -> None:
        super().__init__(model_config, watcher)
        self.sum = 0

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> int:
        count, pause = self.model_config["count"], self.model_config.get("pause", 0.0)
        for start in range(0, count, 100):
            sys.stdout.write("".join(f"number {each}\n" for each in range(start, min(start + 100, count))))
            sys.stdout.flush()
            time.sleep(pause)
        if "once" in self.model_config and not os.path.exists(self.model_config["once"]):
            pathlib.Path(self.model_config["once"]).touch()
            raise ValueError("the first try fails")
        return int(count)

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        word, _, number = line.partition(" ")
        if word == "number":
            self.sum += int(number)
            self.watcher.watch(self.sum, "sum", step=int(number))


class DiesWatching(BaseModelExecutor):
    """Trains correctly, but crashes every log watcher."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        print("a line")
        return "trained"

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class WatchesSlowly(BaseModelExecutor):
    """Prints `lines`, and searches them for metrics with a regular expression that backtracks catastrophically."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        print("\n".join(self.model_config["lines"]))
        return "trained"

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("sleep"):
            time.sleep(600)
        if re.fullmatch(r"(\w+\s?)*: \d+", line):
            self.watcher.watch(int(line.rpartition(" ")[2]), "found", step=1)


class PrintsOddly(BaseModelExecutor):
    """Prints in the unusual way `how`. The text of a line after `m: ` is watched as `seen`."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> str:
        how = self.model_config["how"]
        if how == "in the buffer of C":
            ctypes.CDLL(None).printf(b"m: %s\n", b"from C")
        if how == "holding the interpreter":
            print("m: before", flush=True)
            gate = self.model_config["gate"]
            ctypes.PyDLL(None).system(f"while ! test -e {gate}; do sleep 0.02; done".encode())  # keeps the GIL
        if how == "dying":
            os.write(1, b"m: whole\nm: ha")
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "with bars":
            for step in range(1, 1001):
                sys.stderr.write(f"\rtraining: {step // 10}%|##| {step}/1000 [00:01<00:09, 9.5it/s]")
                if step % 100 == 0:
                    sys.stderr.write(f"\rm: {step}\r")
        return how

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        if line.startswith("m: "):
            self.watcher.watch(line[3:], "seen", step=1)


class PrintsEverywhere(BaseModelExecutor):
    """Puts `text` wherever a component can put text, and into an error at the end if it `fails`."""

    async def _run(self, run_type: str, run_obj: Any = None, **kwargs: Any) -> Any:
        text = self.model_config["text"]
        print(f"log {text} line", flush=True)
        print(f"err {text} line", file=sys.stderr, flush=True)
        if self.model_config.get("fails"):
            raise ValueError(f"error {text} text")
        return {f"key {text}": f"value {text}"}

    def _watch_run(self, line: str, **kwargs: Any) -> None:
        text = self.model_config["text"]
        self.watcher.watch(0.5, f"series {text}", step=1)
        self.watcher.watch(f"value {text}", f"result {text}")
