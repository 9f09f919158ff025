"""Exit statuses, and the status of each error."""

from __future__ import annotations

from sandbox_actors.errors import ConfigError, DaemonUnreachable, NotFound, ProtocolError, Refused, SandboxError

SUCCEEDED, FAILED, USAGE, NO_DAEMON, INTERRUPTED = 0, 1, 2, 3, 130

NOT_WRITTEN = 4
"""The command has succeeded, but its output could not be written."""

BUG = 70
"""An exception that nobody expected, as in sysexits.h. Python's own status, 1, means that an experiment failed."""

BROKEN_PIPE = 141
"""What a shell reports for a process that SIGPIPE ended."""


def status_of(error: SandboxError) -> int:
    if isinstance(error, (DaemonUnreachable, ProtocolError)):
        return NO_DAEMON
    if isinstance(error, (ConfigError, NotFound, Refused)):
        return USAGE
    return FAILED
