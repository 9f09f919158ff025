"""`sandbox`: the daemon from a shell.

stdout is for data, stderr for everything else. Exit statuses: 0 succeeded, 1 the experiment failed, 2 bad file or
usage, 3 no daemon, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from sandbox_actors.cli.exit_status import BROKEN_PIPE, INTERRUPTED, status_of
from sandbox_actors.cli.parser import make_parser
from sandbox_actors.cli.screen import Screen
from sandbox_actors.errors import ComponentFailed, ConfigError, SandboxError
from sandbox_actors.protocol.secrets import without_secrets


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    screen = Screen()
    warnings.showwarning = lambda message, *_: screen.note(f"sandbox: {message}")
    try:
        options = make_parser().parse_args(arguments)
        screen.is_json, screen.is_quiet = options.json, options.quiet
        status: int = options.run(options, screen)
        sys.stdout.flush()
    except SandboxError as error:
        _report(screen, error)
        return status_of(error)
    except KeyboardInterrupt:
        screen.note("sandbox: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout has closed it; without this, Python reports a second error when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return status


def _report(screen: Screen, error: SandboxError) -> None:
    if isinstance(error, ConfigError):
        for problem in error.problems:
            screen.note(without_secrets(str(problem)))
        count = len(error.problems)
        screen.note(f"sandbox: {count} {'error' if count == 1 else 'errors'}; nothing was run")
        return
    screen.note(without_secrets(f"sandbox: {error}"))
    if isinstance(error, ComponentFailed) and error.remote_traceback:
        screen.note(error.remote_traceback.rstrip())
