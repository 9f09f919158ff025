"""Configs in files that are read when a job starts, because an earlier job has written them.

A small file is read in a thread. A large one is read by a process of its own, `python -m
sandbox_actors.jobs.config_files FILE`: reading YAML takes a second a megabyte, and what it makes on the way stops every
thread of the process, the event loop too, for as long as a second. Standard output is the config as msgpack, or with
exit status 1 what is wrong: a list of [file, path, message].
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import msgspec
import trio

from sandbox_actors.errors import ConfigError, Problem
from sandbox_actors.experiment_file.load import read_config
from sandbox_actors.files import PACKAGES

SMALL = 64 * 1024
"""Bytes of a file that takes no longer to read than a process to start."""

MAX_CONFIG = 8 * 1024 * 1024
"""Bytes of a config as msgpack. It is handled as a whole several times on its way to the worker."""


async def read_config_file(file: str, cwd: str) -> dict[str, Any]:
    """The config in `file`, which is looked up from `cwd`. Raises ConfigError."""
    path = os.path.join(cwd, os.path.expanduser(file))
    if await trio.to_thread.run_sync(_size, path) <= SMALL:
        return await trio.to_thread.run_sync(read_config, path, cwd)
    command = [sys.executable, "-m", "sandbox_actors.jobs.config_files", path]
    done = await trio.run_process(command, capture_stdout=True, check=False, cwd=PACKAGES)
    return await trio.to_thread.run_sync(_decoded, path, done)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # `read_config` says what is wrong


def _decoded(path: str, done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    if done.returncode == 1:
        raise ConfigError(
            [Problem(*each) for each in msgspec.msgpack.decode(done.stdout, type=list[tuple[str, str, str]])]
        )
    if done.returncode:
        raise ConfigError([Problem(path, "", f"the process that read it ended with status {done.returncode}")])
    return msgspec.msgpack.decode(done.stdout, type=dict[str, Any])


def main(path: str) -> int:
    """Raises nothing that a file can cause."""
    problems: list[Problem] = []
    data = b""
    try:
        data = msgspec.msgpack.encode(read_config(path, ""))
        if len(data) > MAX_CONFIG:
            problems = [
                Problem(
                    path, "", f"has {len(data)} bytes; a config may have {MAX_CONFIG}: put long lists into data files"
                )
            ]
    except ConfigError as error:
        problems = error.problems
    sys.stdout.buffer.write(
        msgspec.msgpack.encode([(e.file, e.path, e.message) for e in problems]) if problems else data
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
