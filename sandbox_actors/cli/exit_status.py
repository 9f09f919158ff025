"""Exit statuses, and which error means which."""

from __future__ import annotations

from sandbox_actors.errors import ConfigError, DaemonUnreachable, NotFound, ProtocolError, Refused, SandboxError

SUCCEEDED, FAILED, USAGE, NO_DAEMON, INTERRUPTED = 0, 1, 2, 3, 130

BROKEN_PIPE = 141
"""As a shell tells the death by SIGPIPE."""


def status_of(error: SandboxError) -> int:
    if isinstance(error, (DaemonUnreachable, ProtocolError)):
        return NO_DAEMON
    if isinstance(error, (ConfigError, NotFound, Refused)):
        return USAGE
    return FAILED
