"""Build the env of a spec, unless it exists: `python -m envs.build_command --root DIR --spec SPEC`.

SPEC is an EnvSpec as JSON, the name or path of one, or `-` for JSON on standard input, which may be longer than an
argument. The env is the folder `DIR/<name>-<fingerprint[:12]>/`; the log of the build is beside it in `.log`, also
after a failure. Any number of builders may run at once: one builds, and the others wait for it. On SIGTERM, SIGINT or
SIGHUP, a builder ends every process that it started, and removes the incomplete env; what a killed builder leaves is
removed by the next one.

Standard output is one JSON object a line:
    {"event": "progress", "message": ..., "done": STAGE, "total": STAGES}
    {"event": "ready", "python": ..., "path": ..., "fingerprint": ..., "seconds": ..., "reused": ...}       exit 0
    {"event": "failed", "message": ..., "command": ..., "tail": [...], "log": ...}                          exit 1
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from envs.builder import Progress, Ready, build, folder_of
from envs.env_folder import default_root
from envs.processes import CommandFailed
from envs.specs import EnvSpec, load_spec, spec_from
from sandbox_actors.errors import EnvError, SandboxError
from sandbox_actors.files import make_folders, user_path


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="failed"):
    """`command` and `tail`, its last lines, are empty if no command failed."""

    message: str
    command: str = ""
    tail: list[str] = []
    log: str = ""

    @property
    def text(self) -> str:
        """The message, and where the log is."""
        return f"{self.message}\nfull log: {self.log}" if self.log else self.message


Event = Progress | Ready | Failed


class _Stopped(BaseException):
    """A signal asked this process to end. No `except Exception` catches it."""


def command_for(root: Path) -> list[str]:
    """The command of a process that builds the env of the spec on its standard input. Its current folder must be
    `PACKAGES`."""
    return [sys.executable, "-m", "envs.build_command", "--root", str(root), "--spec", "-"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m envs.build_command", description="Build the env of a spec, unless it exists."
    )
    parser.add_argument("--root", type=Path, help="folder of the envs; by default that of this user")
    parser.add_argument("--spec", required=True, help="a spec as JSON, or the name or path of one")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    log = ""
    try:
        spec = _read_spec(options.spec)
        root = user_path(options.root or default_root()).absolute()
        make_folders(root)
        os.chdir(root)  # installers read project files in the current folder, which must not affect an env
        fingerprint = spec.fingerprint
        log = str(folder_of(spec, root, fingerprint).log)
        _print(build(spec, root, _print, fingerprint))
    except CommandFailed as error:
        _print(Failed(message=str(error), command=error.command, tail=error.tail, log=log))
    except (SandboxError, OSError) as error:
        _print(Failed(message=str(error), log=log))
    except _Stopped as stopped:
        _print(Failed(message="cancelled", log=log))
        return 128 + int(stopped.args[0])
    else:
        return 0
    return 1


def _read_spec(text: str) -> EnvSpec:
    if text == "-":
        text = sys.stdin.read()
    if not text.lstrip().startswith("{"):
        return load_spec(text)
    try:
        value = msgspec.json.decode(text, type=dict[str, Any])
    except ValueError as error:
        raise EnvError(f"--spec is neither JSON nor the name or path of a spec: {error}") from error
    return spec_from(value, "env", Path.cwd(), "--spec")


def _stop(number: int, frame: FrameType | None) -> None:
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # a second signal must not interrupt the clean-up
        signal.signal(other, signal.SIG_IGN)
    raise _Stopped(number)


def _print(event: Event) -> None:
    with contextlib.suppress(BrokenPipeError):  # no reader: the build continues, and the next builder finds the env
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
