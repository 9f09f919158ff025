"""The table of commands, and the parser of the command line that is made from it."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

from sandbox_actors.cli.command import Command
from sandbox_actors.version import __version__

COMMANDS = {
    "run": ("run", "submit an experiment file and follow it to its end"),
    "submit": ("run", "submit an experiment file and print the ID of the experiment"),
    "check": ("check", "validate experiment files without running anything"),
    "ls": ("ls", "list experiments, newest first"),
    "show": ("show", "show the details of an experiment"),
    "watch": ("watch", "follow an experiment to its end"),
    "cancel": ("cancel", "cancel an experiment"),
    "resume": ("watch", "continue an ended experiment, and follow it to its end"),
    "logs": ("logs", "print the log of a job"),
    "metrics": ("metrics", "print metrics, or plot one"),
    "ps": ("workers", "list component actors"),
    "stop": ("workers", "stop a component actor"),
    "daemon": ("", "start, stop or inspect the daemon; manage its keys; recover its store"),
    "daemon start": ("daemon", "start the daemon if it is not running"),
    "daemon stop": ("daemon", "stop the daemon when all experiments have ended"),
    "daemon status": ("daemon", "show where the daemon runs and what it does"),
    "daemon keys": ("", "manage access over TCP"),
    "daemon keys init": ("keys", "create the daemon's key pair if it has none, and print the public key"),
    "daemon keys show": ("keys", "print the daemon's public key"),
    "daemon keys mine": ("keys", "print your own public key, and create the pair if you have none"),
    "daemon keys add": ("keys", "authorize the public key of a client"),
    "daemon keys ls": ("keys", "list the authorized keys"),
    "daemon keys rm": ("keys", "revoke a key and close its connections"),
    "daemon recover": ("recover", "rebuild a damaged store from what can still be read; the damaged file is kept"),
    "env": ("", "list, build and remove environments"),
    "env ls": ("env.ls", "list environments and the component actors that use them"),
    "env create": ("env.create", "build the environment of a spec if it does not exist"),
    "env show": ("env.show", "show the details of an environment"),
    "env rm": ("env.rm", "remove environments that are not in use"),
    "env prune": ("env.rm", "remove environments that have not been used for a long time, and incomplete ones"),
}
"""Module below `commands`, and what the help says. The command is the object in that module whose name is the last
word; a group of commands has no module."""


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sandbox",
        description="Run experiments on data and models through a daemon whose component actors stay warm.",
        epilog="Exit status: 0 succeeded, 1 the experiment failed, 2 bad file or usage, 3 no daemon, "
        "4 the output could not be written, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    groups = {"": parser.add_subparsers(title="commands", metavar="COMMAND", required=True)}
    for name, (module, help) in COMMANDS.items():
        group, _, word = name.rpartition(" ")
        added = groups[group].add_parser(word, help=help, description=f"{help[0].upper()}{help[1:]}.")
        if module:
            added.target = module, word
        else:
            groups[name] = added.add_subparsers(title="commands", metavar="COMMAND", required=True)
    return parser


class _Parser(argparse.ArgumentParser):
    """Imports its command when that is called: no command waits for the imports of the others."""

    target: tuple[str, str] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.target is not None:
            module, word = self.target
            command: Command = getattr(importlib.import_module(f"sandbox_actors.cli.commands.{module}"), word)
            self._declare(command)
        return super().parse_known_args(args, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        print(message, end="", file=file or sys.stderr)  # argparse hides that it cannot be written

    def _declare(self, command: Command) -> None:
        self.add_argument(
            "--json", action="store_true", help="print JSON: one document, or one object per line while following"
        )
        self.add_argument("-q", "--quiet", action="store_true", help="print only IDs or names")
        for names, settings in command.arguments:
            self.add_argument(*names, **settings)
        self.set_defaults(run=command.run)
