"""`sandbox`: the daemon from a shell.

stdout is for data, stderr for everything else. Exit statuses: 0 succeeded, 1 the experiment failed, 2 bad file or
usage, 3 no daemon, 4 the output could not be written, 70 a bug, 130 interrupted, 141 the reader of stdout has gone.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence

from sandbox_actors.cli.exit_status import BROKEN_PIPE, BUG, INTERRUPTED, SUCCEEDED, USAGE, status_of
from sandbox_actors.cli.parser import make_parser
from sandbox_actors.cli.screen import Screen
from sandbox_actors.errors import ComponentFailed, ConfigError, Refused, SandboxError
from sandbox_actors.protocol.secrets import without_secrets
from sandbox_actors.protocol.texts import bounded
from sandbox_actors.system.standard_files import open_standard_files
from sandbox_actors.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    open_standard_files()
    screen = Screen()
    try:
        return screen.finished(_run(screen, sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:
        screen.give_up_output()
        return BROKEN_PIPE


def _run(screen: Screen, arguments: Sequence[str]) -> int:
    warnings.resetwarnings()  # those of PYTHONWARNINGS: `error` would make an exception of a note
    warnings.filterwarnings("ignore")
    warnings.filterwarnings("always", category=UserWarning)
    warnings.showwarning = lambda message, *_: screen.note(f"sandbox: {message}")
    try:
        _require_text(arguments)
        options = make_parser().parse_args(arguments)
        screen.is_json, screen.is_quiet = options.json, options.quiet
        status: int = options.run(options, screen)
    except SandboxError as error:
        _report(screen, error)
        return status_of(error)
    except KeyboardInterrupt:
        screen.note("sandbox: interrupted")
        return INTERRUPTED
    except SystemExit as end:  # the parser has printed its help, or what is wrong with the arguments
        return end.code if isinstance(end.code, int) else SUCCEEDED if end.code is None else USAGE
    except BrokenPipeError:
        raise
    except OSError as error:  # such as a file that cannot be read, or no descriptor that is free
        screen.note(f"sandbox: {error}")
        return USAGE
    except MemoryError:
        screen.note("sandbox: there is not enough memory, or its limit is too low (`ulimit -v`)")
        return USAGE
    except Exception:
        screen.note(f"{traceback.format_exc()}sandbox: this is a bug of sandbox {__version__}; please report it")
        return BUG
    return status


def _require_text(arguments: Sequence[str]) -> None:
    """Raise Refused for an argument that no message can hold."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            encoding = sys.getfilesystemencoding()
            hint = "" if encoding == "utf-8" else f", as far as the locale ({encoding}) shows; try LC_ALL=C.UTF-8"
            raise Refused(f"the argument {bounded(argument, 200)} is not UTF-8{hint}") from None


def _report(screen: Screen, error: SandboxError) -> None:
    if isinstance(error, ConfigError):
        for problem in error.problems:
            screen.note(bounded(without_secrets(str(problem)), whole="the file has all of it"))
        count = len(error.problems)
        screen.note(f"sandbox: {count} {'error' if count == 1 else 'errors'}; nothing was run")
        return
    screen.note(without_secrets(f"sandbox: {error}"))
    if isinstance(error, ComponentFailed) and error.remote_traceback:
        screen.note(error.remote_traceback.rstrip())
