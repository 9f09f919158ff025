"""`sandbox daemon recover`."""

from __future__ import annotations

import argparse

from sandbox_actors.cli.command import command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.client.remote import require_local
from sandbox_actors.daemon.main import only_daemon
from sandbox_actors.store.store import recover_store
from sandbox_actors.system.paths import find_paths


@command()
def recover(options: argparse.Namespace, screen: Screen) -> int:
    """Rebuild a damaged store from what can be read of it and of its backup. Refused while a daemon runs."""
    require_local("recovering a store")
    paths = find_paths()
    paths.prepare()
    with only_daemon(paths):
        done = recover_store(paths.store)
    counts = ", ".join(f"{count + done.from_backup[table]:,} {table}" for table, count in done.saved.items())
    screen.result(
        {"kept": str(done.kept), "saved": done.saved, "from_backup": done.from_backup},
        str(done.kept),
        f"recovered    {counts}\n"
        f"from backup  {sum(done.from_backup.values()):,} of these\n"
        f"kept         {done.kept}, the damaged file",
    )
    return SUCCEEDED
