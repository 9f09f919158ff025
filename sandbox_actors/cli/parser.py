"""The commands and their options."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import TypeAlias

from sandbox_actors.cli.screen import Screen
from sandbox_actors.version import __version__

Command = Callable[[argparse.Namespace, Screen], int]

EXPERIMENT_HELP = "an id, a name (its newest), @ for the newest of all, @~1 for the one before; default @"

ENV_HELP = "a name, a folder's name, a path, or how a fingerprint begins"


UNUSED_FOR = "30d"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandbox",
        description="Experiments on data and models, run by a daemon whose component actors stay warm.",
        epilog="Exit status: 0 succeeded, 1 the experiment failed, 2 bad file or usage, 3 no daemon, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_files(commands)
    _add_experiments(commands)
    _add_workers(commands)
    _add_envs(commands)
    return parser


Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_files(commands: Subparsers) -> None:
    for name, command, help in (
        ("run", _command("run", "run"), "submit an experiment file and follow it to its end"),
        ("submit", _command("run", "submit"), "submit an experiment file and print its id"),
    ):
        parser = _add(commands, name, command, help)
        parser.add_argument("file", metavar="FILE", help="YAML or JSON")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="set a key of the file; for a config, PIPELINE.META_NAME.dj_configs.KEY=VALUE",
        )
        if name == "run":
            parser.add_argument("--dry-run", action="store_true", help="print the plan and run nothing")
    parser = _add(commands, "check", _command("check", "check"), "validate experiment files without running anything")
    parser.add_argument("files", metavar="FILE", nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for run")


def _add_experiments(commands: Subparsers) -> None:
    ls = _add(commands, "ls", _command("experiments", "ls"), "list experiments, newest first")
    ls.add_argument("-n", "--limit", type=int, metavar="COUNT", help="how many; default 100, with --json or -q 1000")
    for name, command, help in (
        ("show", _command("experiments", "show"), "tell all about an experiment"),
        ("watch", _command("experiments", "watch"), "follow an experiment to its end"),
        ("cancel", _command("experiments", "cancel"), "end an experiment"),
        ("resume", _command("experiments", "resume"), "go on with an ended experiment, and follow it to its end"),
    ):
        _add_experiment(_add(commands, name, command, help))
    logs = _add(commands, "logs", _command("experiments", "logs"), "print the log of a job")
    _add_experiment(logs)
    logs.add_argument("job", metavar="JOB", nargs="?", default="", help="META_NAME or PIPELINE.META_NAME; the newest")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows; without JOB, with the next jobs")
    metrics = _add(commands, "metrics", _command("experiments", "metrics"), "print metrics, or draw one")
    _add_experiment(metrics)
    metrics.add_argument("name", metavar="NAME", nargs="?", default="", help="loss, train.loss, or baseline.train.loss")


def _add_workers(commands: Subparsers) -> None:
    _add(commands, "ps", _command("daemon", "ps"), "list component actors")
    stop = _add(commands, "stop", _command("daemon", "stop_worker"), "stop a component actor")
    stop.add_argument("worker", metavar="WORKER")
    stop.add_argument("--force", action="store_true", help="also if it is in use: its job fails")
    parser = commands.add_parser("daemon", help="start, stop, or ask the daemon; recover its store")
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add(actions, "start", _command("daemon", "start"), "start it, unless one answers")
    ending = _add(actions, "stop", _command("daemon", "stop"), "stop it once what runs has ended")
    ending.add_argument("--now", action="store_true", help="cut off what runs")
    _add(actions, "status", _command("daemon", "status"), "tell where it is and what it does")
    _add_keys(actions)
    _add(actions, "recover", _command("daemon", "recover"), "save what can be read of a damaged store, and keep it")


def _add_keys(commands: Subparsers) -> None:
    parser = commands.add_parser("keys", help="say who may come over TCP")
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add(
        actions, "init", _command("keys", "init"), "make the daemon's keys, unless they are there; print the public one"
    )
    _add(actions, "show", _command("keys", "show"), "print the daemon's public key")
    _add(actions, "mine", _command("keys", "mine"), "print your own public key, made unless it is there")
    adding = _add(actions, "add", _command("keys", "add"), "let a public key in")
    adding.add_argument("name", metavar="NAME")
    adding.add_argument(
        "key", metavar="KEY", help="64 hexadecimal digits: what `sandbox daemon keys mine` prints there"
    )
    _add(actions, "ls", _command("keys", "ls"), "list the keys that are let in")
    _add(actions, "rm", _command("keys", "rm"), "let a key in no more, and cut what it has open").add_argument(
        "name", metavar="NAME"
    )


def _add_envs(commands: Subparsers) -> None:
    parser = commands.add_parser("env", help="list, build, or remove envs")
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add(actions, "ls", _command("envs", "ls"), "list envs, and which component actors use them")
    create = _add(actions, "create", _command("envs", "create"), "build the env of a spec, unless it is there")
    create.add_argument("spec", metavar="SPEC", help="name or path of a spec")
    show = _add(actions, "show", _command("envs", "show"), "tell all about an env")
    show.add_argument("env", metavar="NAME", help=ENV_HELP)
    removing = _add(actions, "rm", _command("envs", "rm"), "remove envs that nobody uses")
    removing.add_argument("envs", metavar="NAME", nargs="+", help=ENV_HELP)
    pruning = _add(
        actions,
        "prune",
        _command("envs", "prune_envs"),
        "remove what has not been used for long, and what is half-made",
    )
    pruning.add_argument(
        "--unused-for",
        type=_seconds,
        default=UNUSED_FOR,
        metavar="TIME",
        help=f"90s, 12h, 30d; default {UNUSED_FOR}",
    )
    pruning.add_argument("--dry-run", action="store_true", help="only tell what would be removed")


def _add(commands: Subparsers, name: str, command: Command, help: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    parser.add_argument("--json", action="store_true", help="one JSON document, or one object a line for what streams")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the id")
    parser.set_defaults(command=command)
    return parser


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", metavar="ID", nargs="?", default="@", help=EXPERIMENT_HELP)


def _command(module: str, name: str) -> Command:
    """A command, imported when it is called: what one of them needs, the others need not wait for."""

    def call(options: argparse.Namespace, screen: Screen) -> int:
        status: int = getattr(importlib.import_module(f"sandbox_actors.cli.commands.{module}"), name)(options, screen)
        return status

    return call


def _seconds(text: str) -> float:
    """As argparse wants it. Raises ArgumentTypeError."""
    from sandbox_actors.cli.commands.envs import seconds

    return seconds(text)
