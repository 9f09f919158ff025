"""A real OpenAI-compatible server on this machine, `transformers serve`, with a model of random weights."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "configs" / "auto_prompt_optimization"
"""Where the env of the server is described, and the model is made."""

READY = re.compile(r"Uvicorn running on (http://\S+)")
START_LIMIT = 120.0


@dataclass(frozen=True)
class LocalServer:
    """`model` is what requests have to call it."""

    url: str
    model: str


def make_model(python: Path, folder: Path) -> Path:
    """The folder of a chat model that says grades, such as `0.3`."""
    command = [str(python), str(FOLDER / "local_model.py"), str(folder), "0"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder


@contextmanager
def serving_locally(python: Path, folder: Path) -> Iterator[LocalServer]:
    """The server, in the env of `python`, for the block. `folder` gets the model and the log."""
    model, log = make_model(python, folder / "model"), folder / "server.log"
    command = [str(python.parent / "transformers"), "serve", "--host", "127.0.0.1", "--port", "0", str(model)]
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environ)
    try:
        deadline = time.monotonic() + START_LIMIT
        while (ready := READY.search(log.read_text())) is None:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield LocalServer(f"{ready[1]}/v1", str(model))
    finally:
        server.terminate()
        server.wait(30)
