"""Keys for connections over TCP: the daemon's own pair, and the public keys that it admits, each with a name.

A folder of mode 0700 below the home holds `server.key`, `client.key` (with which this user connects to other daemons)
and `allowed`, a line `NAME PUBLICKEY` for each key, all of mode 0600. Keys are CURVE's (Curve25519), written as 64
hexadecimal digits, which need no quotes in a shell. A secret key is read only to be given to a socket.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox_actors.errors import NotFound, Refused
from sandbox_actors.files import write_whole
from sandbox_actors.system.folders import make_private
from sandbox_actors.system.paths import HOME_WAY_OUT

_KEY = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[\w.@+-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class KeyPair:
    """A public and a secret key, in hexadecimal digits."""

    public: str
    secret: str


MakeKeyPair = Callable[[], KeyPair]


class Keys:
    """The keys in `folder`. Every call reads the files again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._allowed = folder / "allowed"

    def server(self) -> KeyPair | None:
        return self._read("server.key")

    def client(self) -> KeyPair | None:
        return self._read("client.key")

    def make_server(self, new_pair: MakeKeyPair) -> KeyPair:
        """The daemon's pair, created if there is none."""
        return self.server() or self._make("server.key", new_pair())

    def make_client(self, new_pair: MakeKeyPair) -> KeyPair:
        return self.client() or self._make("client.key", new_pair())

    def allowed(self) -> dict[str, str]:
        """Names by public key."""
        try:
            lines = self._allowed.read_text("ascii").splitlines()
        except FileNotFoundError:
            return {}
        return {words[1]: words[0] for words in map(str.split, lines) if len(words) == 2}

    def add(self, name: str, public: str) -> None:
        """Admit a key. Raises Refused if the key or the name is invalid, or in use."""
        if not _NAME.fullmatch(name):
            raise Refused(f"{name!r}: the name of a key has up to 64 letters, digits and any of . _ @ + -")
        public = validate_key(public)
        known = self.allowed()
        if public in known:
            raise Refused(f"this key is on the list already, as {known[public]}")
        if name in known.values():
            raise Refused(
                f"another key is called {name}: `sandbox daemon keys rm {name}` first, or choose another name"
            )
        self._write_allowed({**known, public: name})

    def remove(self, name: str) -> None:
        """Revoke a key; its open connections are closed. Raises NotFound."""
        known = self.allowed()
        if name not in known.values():
            raise NotFound(f"no key is called {name}: `sandbox daemon keys ls` lists them")
        self._write_allowed({key: each for key, each in known.items() if each != name})

    def _read(self, file: str) -> KeyPair | None:
        try:
            public, secret = (self.folder / file).read_text("ascii").split()
        except FileNotFoundError:
            return None
        except ValueError:
            raise Refused(
                f"{self.folder / file} does not contain a pair of keys; remove it to have a new one created"
            ) from None
        return KeyPair(validate_key(public), validate_key(secret))

    def _make(self, file: str, pair: KeyPair) -> KeyPair:
        self._write(self.folder / file, f"{pair.public}\n{pair.secret}\n")
        return pair

    def _write_allowed(self, allowed: dict[str, str]) -> None:
        self._write(self._allowed, "".join(f"{name} {key}\n" for key, name in allowed.items()))

    def _write(self, path: Path, text: str) -> None:
        """Readable by its owner only, and replaced in one step, so that no reader sees half of it."""
        make_private(self.folder, HOME_WAY_OUT)
        write_whole(path, text.encode("ascii"), mode=0o600, is_durable=True)


def validate_key(key: str) -> str:
    """The key in lower case. Raises Refused; the message does not repeat the key, which may be a secret one."""
    key = key.strip().lower()
    if not _KEY.fullmatch(key):
        raise Refused(f"a key must have 64 hexadecimal digits; this one has {len(key)} characters")
    return key
