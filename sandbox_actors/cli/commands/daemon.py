"""The commands about the daemon and its component actors."""

from __future__ import annotations

import argparse

import msgspec

from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view import json_forms
from sandbox_actors.cli.view.tables import workers_table
from sandbox_actors.cli.view.text import duration
from sandbox_actors.client.client import Client
from sandbox_actors.client.remote import require_local
from sandbox_actors.daemon.main import only_daemon
from sandbox_actors.protocol.rows import DaemonStatus
from sandbox_actors.store.store import recover_store
from sandbox_actors.system.paths import find_paths


def ps(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        rows = client.workers()
    if screen.is_json:
        screen.document([json_forms.worker(row) for row in rows])
    elif screen.is_quiet:
        for row in rows:
            screen.data(row.worker)
    elif rows:
        screen.picture(workers_table(rows))
    else:
        screen.note("no component actor is up; a job starts those it needs")
    return SUCCEEDED


def stop_worker(options: argparse.Namespace, screen: Screen) -> int:
    with Client() as client:
        row = client.stop_worker(options.worker, force=options.force)
    if screen.is_json:
        screen.document(json_forms.worker(row))
    else:
        screen.data(row.worker if screen.is_quiet else f"{row.worker} (pid {row.pid}) has stopped")
    return SUCCEEDED


def start(options: argparse.Namespace, screen: Screen) -> int:
    require_local("starting a daemon")
    with Client(autostart=True) as client:
        _print_status(screen, client.status())
    return SUCCEEDED


def status(options: argparse.Namespace, screen: Screen) -> int:
    with Client(autostart=False) as client:
        _print_status(screen, client.status())
    return SUCCEEDED


def stop(options: argparse.Namespace, screen: Screen) -> int:
    require_local("stopping a daemon")
    with Client(autostart=False) as client:
        running = client.status().experiments
        if running and not options.now:
            screen.note(f"waits for {running} running; `sandbox daemon stop --now` cuts off what runs")
        last = client.stop_daemon(now=options.now)
    if screen.is_json:
        screen.document(msgspec.to_builtins(last))
    else:
        screen.data(str(last.pid) if screen.is_quiet else f"the daemon (pid {last.pid}) has stopped")
    return SUCCEEDED


def recover(options: argparse.Namespace, screen: Screen) -> int:
    """Of a damaged store: keep it, and save what can be read of it and of its backup. Refused while a daemon serves."""
    require_local("recovering a store")
    paths = find_paths()
    paths.prepare()
    with only_daemon(paths):
        done = recover_store(paths.store)
    if screen.is_json:
        screen.document({"kept": str(done.kept), "saved": done.saved, "from_backup": done.from_backup})
    elif screen.is_quiet:
        screen.data(str(done.kept))
    else:
        counts = ", ".join(f"{count + done.from_backup[table]:,} {table}" for table, count in done.saved.items())
        screen.data(
            f"saved        {counts}\n"
            f"of these     {sum(done.from_backup.values()):,} were only in the backup\n"
            f"kept         {done.kept}, the damaged file"
        )
    return SUCCEEDED


def _print_status(screen: Screen, status: DaemonStatus) -> None:
    if screen.is_json:
        screen.document(msgspec.to_builtins(status))
    elif screen.is_quiet:
        screen.data(str(status.pid))
    else:
        screen.data(
            f"daemon       pid {status.pid}, version {status.version}, up for {duration(status.uptime_seconds)}\n"
            f"home         {status.home}\n"
            f"socket       {status.socket}\n"
            f"experiments  {status.experiments} running\n"
            f"actors       {status.workers} up" + (f"\ntrouble      {status.trouble}" if status.trouble else "")
        )
