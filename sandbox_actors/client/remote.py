"""A daemon on another machine: SANDBOX_CONNECT is its address, SANDBOX_SERVER_KEY its public key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox_actors.errors import Refused
from sandbox_actors.transport.keys import KeyPair, Keys, validate_key

CONNECT_VARIABLE = "SANDBOX_CONNECT"
SERVER_KEY_VARIABLE = "SANDBOX_SERVER_KEY"


@dataclass(frozen=True)
class Remote:
    """`server_key` is the daemon's public key, `pair` the client's own pair."""

    address: str
    server_key: str
    pair: KeyPair


def find_remote(keys: Path, environ: Mapping[str, str] = os.environ) -> Remote | None:
    """The daemon that the environment names, with the client's pair from the folder `keys`; None for the local one.

    Raises Refused if something is missing, with the command that creates it.
    """
    address = environ.get(CONNECT_VARIABLE, "")
    if not address:
        return None
    if not address.startswith("tcp://"):
        raise Refused(f"{CONNECT_VARIABLE}={address}: must be tcp://HOST:PORT")
    server_key = environ.get(SERVER_KEY_VARIABLE, "")
    if not server_key:
        raise Refused(
            f"{CONNECT_VARIABLE} is set: {SERVER_KEY_VARIABLE} must hold the daemon's public key, which "
            "`sandbox daemon keys show` prints on its machine"
        )
    pair = Keys(keys).client()
    if pair is None:
        raise Refused(
            f"{CONNECT_VARIABLE} is set, but you have no key pair in {keys}: create it with `sandbox daemon keys "
            "mine`, then authorize it with `sandbox daemon keys add NAME KEY` on the daemon's machine"
        )
    return Remote(address, validate_key(server_key), pair)


def is_elsewhere(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the daemon is on another machine."""
    return bool(environ.get(CONNECT_VARIABLE))


def require_local(what: str, environ: Mapping[str, str] = os.environ) -> None:
    """Raise Refused if the daemon is on another machine: `what` works on files or processes of the daemon's."""
    address = environ.get(CONNECT_VARIABLE, "")
    if address:
        raise Refused(f"{what} works only on the daemon's machine, but {CONNECT_VARIABLE} is {address}: run it there")
