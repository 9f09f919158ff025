"""`sandbox daemon keys`: access over TCP. All commands work on files in this machine's home, without a daemon."""

from __future__ import annotations

import argparse

from sandbox_actors.cli.command import argument, command
from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.errors import NotFound
from sandbox_actors.system.paths import find_paths
from sandbox_actors.transport.curve_router import new_pair
from sandbox_actors.transport.keys import Keys

NAME = argument("name", metavar="NAME", help="the name under which the key is authorized")


@command()
def init(options: argparse.Namespace, screen: Screen) -> int:
    return _print_key(_keys().make_server(new_pair).public, screen, "the public key of this machine's daemon:")


@command()
def show(options: argparse.Namespace, screen: Screen) -> int:
    pair = _keys().server()
    if pair is None:
        raise NotFound("this machine's daemon has no keys; `sandbox daemon keys init` creates them")
    return _print_key(pair.public, screen, "the public key of this machine's daemon:")


@command()
def mine(options: argparse.Namespace, screen: Screen) -> int:
    return _print_key(_keys().make_client(new_pair).public, screen, "your public key, for daemons on other machines:")


@command(
    NAME,
    argument(
        "key", metavar="KEY", help="64 hexadecimal digits: the output of `sandbox daemon keys mine` on the client"
    ),
)
def add(options: argparse.Namespace, screen: Screen) -> int:
    _keys().add(options.name, options.key)
    screen.result({"name": options.name}, options.name, f"the key of {options.name} is authorized")
    return SUCCEEDED


@command(NAME)
def rm(options: argparse.Namespace, screen: Screen) -> int:
    _keys().remove(options.name)
    text = f"the key of {options.name} is revoked, and its connections are closed"
    screen.result({"name": options.name}, options.name, text)
    return SUCCEEDED


@command()
def ls(options: argparse.Namespace, screen: Screen) -> int:
    allowed = _keys().allowed()
    if screen.is_json:
        screen.document([{"name": name, "key": key} for key, name in allowed.items()])
    elif allowed:
        for key, name in allowed.items():
            screen.data(name if screen.is_quiet else f"{name}  {key}")
    else:
        screen.note("no keys are authorized; `sandbox daemon keys add NAME KEY` authorizes one")
    return SUCCEEDED


def _keys() -> Keys:
    paths = find_paths()
    paths.prepare()
    return Keys(paths.keys)


def _print_key(key: str, screen: Screen, label: str) -> int:
    if screen.is_terminal and not screen.is_json and not screen.is_quiet:
        screen.note(label)
    screen.result({"key": key}, key, key)
    return SUCCEEDED
