"""A daemon on another machine: SANDBOX_CONNECT says where it listens, SANDBOX_SERVER_KEY by which key it is known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox_actors.errors import Refused
from sandbox_actors.transport.keys import Keys, Pair, checked

CONNECT_VARIABLE = "SANDBOX_CONNECT"
SERVER_KEY_VARIABLE = "SANDBOX_SERVER_KEY"


@dataclass(frozen=True)
class Remote:
    """`server_key` is the daemon's public key, `pair` the client's own."""

    address: str
    server_key: str
    pair: Pair


def find_remote(keys: Path, environ: Mapping[str, str] = os.environ) -> Remote | None:
    """The daemon that the environment names, with the client's pair from the folder `keys`; None for this machine's.

    Raises Refused where something is missing, and says which command makes it.
    """
    address = environ.get(CONNECT_VARIABLE, "")
    if not address:
        return None
    if not address.startswith("tcp://"):
        raise Refused(f"{CONNECT_VARIABLE}={address}: give tcp://HOST:PORT")
    server_key = environ.get(SERVER_KEY_VARIABLE, "")
    if not server_key:
        raise Refused(
            f"{CONNECT_VARIABLE} is set: {SERVER_KEY_VARIABLE} has to hold the daemon's public key, which "
            "`sandbox daemon keys show` prints on its machine"
        )
    pair = Keys(keys).client()
    if pair is None:
        raise Refused(
            f"{CONNECT_VARIABLE} is set, and there is no key of yours in {keys}: `sandbox daemon keys mine` makes it, "
            "and `sandbox daemon keys add NAME KEY` on the daemon's machine lets it in"
        )
    return Remote(address, checked(server_key), pair)


def require_local(what: str, environ: Mapping[str, str] = os.environ) -> None:
    """Raise Refused for a command that works on files or processes of the daemon's machine, where that is another."""
    address = environ.get(CONNECT_VARIABLE, "")
    if address:
        raise Refused(
            f"{what} works on the daemon's own machine alone, and {CONNECT_VARIABLE} is {address}: run it there"
        )
