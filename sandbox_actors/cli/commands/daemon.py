"""`sandbox daemon start`, `stop` and `status`."""

from __future__ import annotations

import argparse

import msgspec

from sandbox_actors.cli.command import argument, command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.cli.view.text import duration
from sandbox_actors.client.client import Client
from sandbox_actors.client.remote import require_local
from sandbox_actors.protocol.rows import DaemonStatus


@command()
def start(options: argparse.Namespace, screen: Screen) -> int:
    require_local("starting a daemon")
    with Client(autostart=True) as client:
        _print_status(screen, client.status())
    return SUCCEEDED


@command()
def status(options: argparse.Namespace, screen: Screen) -> int:
    with Client(autostart=False) as client:
        _print_status(screen, client.status())
    return SUCCEEDED


@command(argument("--now", action="store_true", help="stop at once; running jobs are stopped too"))
def stop(options: argparse.Namespace, screen: Screen) -> int:
    require_local("stopping a daemon")
    with Client(autostart=False) as client:
        running = client.status().experiments
        if running and not options.now:
            screen.note(f"waiting for experiments to end ({running} running); `sandbox daemon stop --now` stops them")
        last = client.stop_daemon(now=options.now, on_trouble=lambda trouble: _print_trouble(screen, options, trouble))
    screen.result(msgspec.to_builtins(last), str(last.pid), f"the daemon (pid {last.pid}) has stopped")
    return SUCCEEDED


def _print_trouble(screen: Screen, options: argparse.Namespace, trouble: str) -> None:
    if not trouble:
        screen.note("what waited for the disk has been recorded")
    elif options.now:
        screen.note(f"{trouble}. What cannot be recorded within seconds, the next daemon finds out")
    else:
        screen.note(f"experiments wait for the disk: {trouble}. `sandbox daemon stop --now` does not wait")


def _print_status(screen: Screen, status: DaemonStatus) -> None:
    screen.result(
        msgspec.to_builtins(status),
        str(status.pid),
        f"daemon       pid {status.pid}, version {status.version}, up for {duration(status.uptime_seconds)}\n"
        f"home         {status.home}\n"
        f"socket       {status.socket}\n"
        f"experiments  {status.experiments} running\n"
        f"actors       {status.workers} running" + (f"\ntrouble      {status.trouble}" if status.trouble else ""),
    )
