"""Converts exceptions to data for another process, and back."""

from __future__ import annotations

import traceback

import msgspec

from sandbox_actors.errors import ComponentFailed, ConfigError, SandboxError
from sandbox_actors.protocol.secrets import without_secrets


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An exception on its way to another process. `traceback` is text, made where the exception was raised."""

    code: str
    message: str
    kind: str = ""
    traceback: str = ""


def fault_of(error: BaseException) -> Fault:
    """An exception as data, without the secrets that it quotes. A SandboxError has no traceback, unless it came from a
    component."""
    if isinstance(error, ComponentFailed):
        return Fault(code=error.code, message=_text(error), kind=error.remote_type, traceback=error.remote_traceback)
    if isinstance(error, SandboxError):
        return Fault(code=error.code, message=_text(error), kind=type(error).__name__)
    kind = type(error).__name__
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return Fault(code="internal", message=f"{kind}: {error}", kind=kind, traceback=text)


def _text(error: BaseException) -> str:
    return without_secrets(str(error))


def error_of(fault: Fault) -> SandboxError:
    """The exception that `fault` was made from; ComponentFailed with the remote traceback for foreign exceptions."""
    for kind in _plain_errors(SandboxError):
        if kind.code == fault.code:
            return kind(fault.message)
    return ComponentFailed(fault.message, remote_type=fault.kind, remote_traceback=fault.traceback)


def _plain_errors(base: type[SandboxError]) -> list[type[SandboxError]]:
    """The subclasses, at any depth, that can be constructed from their message alone."""
    direct = [kind for kind in base.__subclasses__() if kind not in (ComponentFailed, ConfigError)]
    return direct + [deeper for kind in direct for deeper in _plain_errors(kind)]
