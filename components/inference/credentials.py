"""The key of an API: where it comes from. It is sent in the header of a request, and shown nowhere."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from urllib.parse import quote

from sandbox_actors.errors import ConfigError, Problem
from sandbox_actors.files import user_path

HIDDEN = "<key>"
"""Replaces the key."""

_PIECE = 6
_LONG = 12
"""A shorter key is a word such as EMPTY, which texts may contain."""


class Credentials:
    """A key and the header it is sent in. Neither its `repr` nor any error holds the key.

    `source` says in messages where the key was searched.
    """

    def __init__(self, key: str, source: str, header: str = "Authorization") -> None:
        self._key, self.source, self._header = key, source, header

    @property
    def is_there(self) -> bool:
        return bool(self._key)

    @property
    def headers(self) -> dict[str, str]:
        if not self._key:
            return {}
        return {self._header: f"Bearer {self._key}" if self._header.lower() == "authorization" else self._key}

    def hide(self, text: str) -> str:
        """A server's message for a log or an error: without the key, and without each word that contains a piece of it,
        because servers quote keys partly masked."""
        if len(self._key) < _LONG:
            return self._without(text) if self._key else text
        pieces = {self._key[at : at + _PIECE] for at in range(len(self._key) - _PIECE + 1)}
        words = self._without(text).split(" ")
        return " ".join(HIDDEN if any(piece in word for piece in pieces) else word for word in words)

    def cleanse(self, text: str) -> str:
        """An answer's text for the dataset: without the key, otherwise unchanged."""
        return self._without(text) if len(self._key) >= _LONG else text

    def _without(self, text: str) -> str:
        coded = base64.b64encode(self._key.encode()).decode().rstrip("=")
        for form in (self._key, json.dumps(self._key)[1:-1], quote(self._key, safe=""), coded):
            text = text.replace(form, HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"Credentials({self.source}, {'with' if self._key else 'without'} a key)"


def find_credentials(
    variable: str, file: str | None, header: str, environ: Mapping[str, str] = os.environ
) -> Credentials:
    """The key in `file` if one is named, else in the environment variable; empty if the variable is not set.

    Raises ConfigError for a file that cannot be read, and for a key that cannot be sent in a header.
    """
    if file is None:
        key, source, place = environ.get(variable, ""), f"the environment variable {variable}", "api_key_env"
    else:
        key, source, place = _read(file), f"the file {file}", "api_key_file"
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError([Problem("inference", place, f"{source} contains characters that no key has")])
    return Credentials(key, source, header)


def _read(file: str) -> str:
    try:
        return user_path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError([Problem("inference", "api_key_file", f"cannot read {file}: {reason}")]) from None
