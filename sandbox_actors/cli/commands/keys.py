"""`sandbox daemon keys`: who may come over TCP. All of them work on files of this machine's home, without a daemon."""

from __future__ import annotations

import argparse

from sandbox_actors.cli.exit_status import SUCCEEDED
from sandbox_actors.cli.screen import Screen
from sandbox_actors.errors import NotFound
from sandbox_actors.system.paths import find_paths
from sandbox_actors.transport.curve_router import new_pair
from sandbox_actors.transport.keys import Keys


def init(options: argparse.Namespace, screen: Screen) -> int:
    return _print_key(_keys().make_server(new_pair).public, screen, "the public key of this machine's daemon is")


def show(options: argparse.Namespace, screen: Screen) -> int:
    pair = _keys().server()
    if pair is None:
        raise NotFound("this machine's daemon has no keys; `sandbox daemon keys init` makes them")
    return _print_key(pair.public, screen, "the public key of this machine's daemon is")


def mine(options: argparse.Namespace, screen: Screen) -> int:
    return _print_key(_keys().make_client(new_pair).public, screen, "your own public key, for daemons elsewhere, is")


def add(options: argparse.Namespace, screen: Screen) -> int:
    _keys().add(options.name, options.key)
    return _tell(options.name, screen, f"{options.name} is let in")


def rm(options: argparse.Namespace, screen: Screen) -> int:
    _keys().remove(options.name)
    return _tell(options.name, screen, f"{options.name} is let in no more; what it had open is cut")


def ls(options: argparse.Namespace, screen: Screen) -> int:
    allowed = _keys().allowed()
    if screen.is_json:
        screen.document([{"name": name, "key": key} for key, name in allowed.items()])
    elif not allowed:
        screen.note("no key is let in; `sandbox daemon keys add NAME KEY` adds one")
    for key, name in [] if screen.is_json else allowed.items():
        screen.data(name if screen.is_quiet else f"{name}  {key}")
    return SUCCEEDED


def _keys() -> Keys:
    paths = find_paths()
    paths.prepare()
    return Keys(paths.keys)


def _print_key(key: str, screen: Screen, what: str) -> int:
    if screen.is_json:
        screen.document({"key": key})
    else:
        if not screen.is_quiet and screen.is_terminal:
            screen.note(what)
        screen.data(key)
    return SUCCEEDED


def _tell(name: str, screen: Screen, text: str) -> int:
    if screen.is_json:
        screen.document({"name": name})
    else:
        screen.data(name if screen.is_quiet else text)
    return SUCCEEDED
