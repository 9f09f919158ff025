"""`sandbox`: the daemon from a shell.

stdout is data, the rest goes to stderr. Exit statuses: 0 succeeded, 1 the experiment failed, 2 bad file or usage,
3 no daemon, 130 interrupted.
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; its exit status."""
    options = make_parser().parse_args(arguments)
    screen = Screen(is_json=options.json, is_quiet=options.quiet)
    warnings.showwarning = lambda message, *_: screen.note(f"sandbox: {message}")
    try:
        status: int = options.command(options, screen)
        sys.stdout.flush()
    except SandboxError as error:
        _tell(screen, error)
        return status_of(error)
    except KeyboardInterrupt:
        screen.note("sandbox: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has seen enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return status


def _tell(screen: Screen, error: SandboxError) -> None:
    if isinstance(error, ConfigError):
        for problem in error.problems:
            screen.note(str(problem))
        count = len(error.problems)
        screen.note(f"sandbox: {count} {'error' if count == 1 else 'errors'}; nothing has been run")
        return
    screen.note(f"sandbox: {error}")
    if isinstance(error, ComponentFailed) and error.remote_traceback:
        screen.note(error.remote_traceback.rstrip())
