"""Converts exceptions to data for another process, and back."""

from __future__ import annotations

import traceback

import msgspec

from sandbox_actors.errors import ComponentFailed, ConfigError, SandboxError
from sandbox_actors.protocol.secrets import without_secrets
from sandbox_actors.protocol.texts import LONGEST, bounded, text_of

BESIDE_TRACEBACK = LONGEST // 4
"""Characters of a message that is followed by a traceback, which begins with its place and ends with the same text."""

KIND = 200
"""Characters of the name of an exception's class."""


INTERNAL = "internal"
"""The code of an exception that was not raised on purpose."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An exception on its way to another process. `traceback` is text, made where the exception was raised."""

    code: str
    message: str
    kind: str = ""
    traceback: str = ""


def fault_of(error: BaseException) -> Fault:
    """An exception as data of limited size, whatever its text and type, without the secrets that it
    quotes. This never raises.

    A SandboxError has no traceback, unless it came from a component.
    """
    kind = bounded(type(error).__name__, KIND, "")
    if isinstance(error, ComponentFailed):
        message, remote = text_of(error, BESIDE_TRACEBACK), bounded(error.remote_type, KIND, "")
        return Fault(code=error.code, message=message, kind=remote, traceback=_bounded_trace(error.remote_traceback))
    if isinstance(error, SandboxError):
        return Fault(code=error.code, message=text_of(error), kind=kind)
    message = f"{kind}: {text_of(error, BESIDE_TRACEBACK)}"
    return Fault(code=INTERNAL, message=message, kind=kind, traceback=_bounded_trace(_trace_of(error)))


def error_of(fault: Fault) -> SandboxError:
    """The exception that `fault` was made from; ComponentFailed with the remote traceback for foreign exceptions."""
    for kind in _plain_errors(SandboxError):
        if kind.code == fault.code:
            return kind(fault.message)
    return ComponentFailed(fault.message, remote_type=fault.kind, remote_traceback=fault.traceback)


def _trace_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception as failure:  # such as RecursionError, in a chain of thousands of causes
        return f"(no traceback can be had: {type(failure).__name__})"


def _bounded_trace(text: str) -> str:
    """A traceback, which together with its message has at most `LONGEST` characters."""
    return bounded(without_secrets(text), LONGEST - BESIDE_TRACEBACK - KIND - 64)


def _plain_errors(base: type[SandboxError]) -> list[type[SandboxError]]:
    """The subclasses, at any depth, that can be constructed from their message alone."""
    direct = [kind for kind in base.__subclasses__() if kind not in (ComponentFailed, ConfigError)]
    return direct + [deeper for kind in direct for deeper in _plain_errors(kind)]
