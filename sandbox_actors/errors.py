"""Every exception a caller may catch.

One base class; a class name says what happened, its message where and what to do next. `code` is the stable word
that travels on the wire and in `--json`; `fault` in `messages.py` carries it between processes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import ClassVar


class SandboxError(Exception):
    """Base of all errors that this project raises on purpose."""

    code: ClassVar[str] = "error"


class Problem:
    """One thing wrong with a file: where (`file`, dotted `path` in it) and what (`message`)."""

    __slots__ = ("file", "message", "path")

    def __init__(self, file: str, path: str, message: str) -> None:
        self.file, self.path, self.message = file, path, message

    def __str__(self) -> str:
        where = f"{self.file}: {self.path}" if self.path else self.file
        return f"{where}: {self.message}"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class ConfigError(SandboxError):
    """An experiment file cannot be run. `problems` holds everything that is wrong with it, not only the first."""

    code = "config"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class ContextError(SandboxError):
    """A dotted name found nothing in `context_infos`, or an output does not fit the names it was given."""

    code = "context"


class EnvError(SandboxError):
    """An environment cannot be made or used. Says which command failed, and its last lines."""

    code = "env"


class EnvManagerMissing(EnvError):
    """The environment manager that a spec asks for is not on this machine."""

    code = "env-manager"


class ProtocolError(SandboxError):
    """A peer sent what this protocol does not allow, or speaks another version of it."""

    code = "protocol"


class NotFound(SandboxError):
    """No experiment, job or worker has the name that was asked for."""

    code = "not-found"


class Refused(SandboxError):
    """The daemon understood and will not do it: the message says why and what would be accepted."""

    code = "refused"


class DaemonUnreachable(SandboxError):
    """No daemon answers on the socket."""

    code = "no-daemon"


class AnothersDaemon(DaemonUnreachable):
    """The daemon on the socket belongs to another user of this machine."""

    code = "anothers-daemon"


class DaemonEnds(DaemonUnreachable):
    """The daemon that was asked is about to end, or has just ended: the next one can be asked when it is gone."""

    code = "daemon-ends"


class ActorStopped(SandboxError):
    """The actor that was asked has stopped; the message was not, or not wholly, handled."""

    code = "actor-stopped"


class WorkerLost(SandboxError):
    """A worker process ended without delivering its result: exit, signal, or kill. Carries its last lines."""

    code = "worker-lost"


class ComponentFailed(SandboxError):
    """Component code raised inside its worker. `remote_type` and `remote_traceback` are those of the worker."""

    code = "component"

    def __init__(self, message: str, remote_type: str = "", remote_traceback: str = "") -> None:
        super().__init__(message)
        self.remote_type = remote_type
        self.remote_traceback = remote_traceback


class StoreError(SandboxError):
    """The state on disk cannot be read or written."""

    code = "store"


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, however deep; `error` itself if it is no group."""
    members = getattr(error, "exceptions", None)  # by name: Python 3.10 has no groups
    if members is None:
        yield error
    else:
        for each in members:
            yield from leaves(each)


def is_expected(error: BaseException) -> bool:
    """Whether an error was raised on purpose about an experiment, so that trying again would change nothing."""
    return all(
        isinstance(each, SandboxError) and not isinstance(each, (ActorStopped, StoreError)) for each in leaves(error)
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name in `known` that is most like `name`; None if none is like it."""
    folded = {each.lower(): each for each in sorted(known)}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    return folded[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that says `name` is not known: the nearest name that is, or all there are if few."""
    names = sorted(set(known))
    near = nearest(name, names)
    if near is not None:
        return f"; did you mean {near!r}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 12 else ""
