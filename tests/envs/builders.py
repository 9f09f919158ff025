"""Run `python -m envs.build_command` as the daemon does: as a process that prints events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


class BuilderProcess:
    """A running builder, which is killed at the end of the `with` block."""

    def __init__(self, root: Path, spec: dict[str, Any] | str, cwd: Path = REPOSITORY) -> None:
        text = spec if isinstance(spec, str) else json.dumps({"name": "env", **spec})
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-m", "envs.build_command", "--root", str(root), "--spec", text]
        self.process = subprocess.Popen(command, cwd=cwd, env=environ, stdout=subprocess.PIPE, text=True)
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> BuilderProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def wait_for(self, message: str) -> None:
        """Wait until it reports a message that contains `message`."""
        while message not in str(self.next_event().get("message")):
            pass

    def next_event(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the builder has ended: {self.events[-1:]}"
        self.events.append(json.loads(line))
        return self.events[-1]

    def finish(self) -> dict[str, Any]:
        """Its last event, with its exit status as `status`."""
        assert self.process.stdout is not None
        self.events += [json.loads(line) for line in self.process.stdout]
        return {**self.events[-1], "status": self.process.wait()}


def build(root: Path, spec: dict[str, Any] | str) -> dict[str, Any]:
    with BuilderProcess(root, spec) as builder:
        return builder.finish()
