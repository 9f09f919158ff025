"""Where this machine's environments are, and which component actors use them."""

from __future__ import annotations

import contextlib

from envs.inventory import BuiltEnv
from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import listener
from sandbox_actors.client.remote import require_local
from sandbox_actors.errors import SandboxError
from sandbox_actors.system.paths import Paths, find_paths

ENV_HELP = "name, folder name or path of an environment, or the beginning of its fingerprint"


def local_paths() -> Paths:
    """The paths of this machine. Raises Refused where the daemon is on another one, with its environments."""
    require_local("`sandbox env`")
    return find_paths()


class Workers:
    """Names of the running daemon's workers by process; there are none without a daemon."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        paths = local_paths()
        if listener(paths.socket) is None:
            return
        with contextlib.suppress(SandboxError), Client(paths, autostart=False) as client:
            self._names = {row.pid: row.worker for row in client.workers()}

    def of(self, env: BuiltEnv) -> list[str]:
        return [self._names[pid] for pid in env.pids if pid in self._names]

    def users(self, env: BuiltEnv) -> list[str]:
        """The workers that use an environment; where no worker does, the processes that do."""
        return self.of(env) or [f"process {pid}" for pid in env.pids]

    def objection(self, env: BuiltEnv) -> str:
        """Why the environment must not be removed; empty if no worker uses it."""
        names = self.of(env)
        if not names:
            return ""
        commands = " && ".join(f"sandbox stop {name}" for name in names)
        return f"env {env.name!r} is in use by {', '.join(names)}; stop them first: `{commands}`"
