"""Exceptions on their way to another process."""

from __future__ import annotations

import traceback

import msgspec

from sandbox_actors.errors import ComponentFailed, ConfigError, SandboxError


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An exception on its way to another process. `traceback` is text, made where the exception was raised."""

    code: str
    message: str
    kind: str = ""
    traceback: str = ""


def fault_of(error: BaseException) -> Fault:
    """An exception as data. Errors raised on purpose travel without a traceback, unless they brought a remote one."""
    if isinstance(error, ComponentFailed):
        return Fault(code=error.code, message=str(error), kind=error.remote_type, traceback=error.remote_traceback)
    if isinstance(error, SandboxError):
        return Fault(code=error.code, message=str(error), kind=type(error).__name__)
    kind = type(error).__name__
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return Fault(code="internal", message=f"{kind}: {error}", kind=kind, traceback=text)


def error_of(fault: Fault) -> SandboxError:
    """The exception that `fault` was made from; ComponentFailed with the remote traceback where it is none of ours."""
    for kind in _plain_errors(SandboxError):
        if kind.code == fault.code:
            return kind(fault.message)
    return ComponentFailed(fault.message, remote_type=fault.kind, remote_traceback=fault.traceback)


def _plain_errors(base: type[SandboxError]) -> list[type[SandboxError]]:
    """The subclasses, at any depth, that can be made again from their message alone."""
    direct = [kind for kind in base.__subclasses__() if kind not in (ComponentFailed, ConfigError)]
    return direct + [deeper for kind in direct for deeper in _plain_errors(kind)]
