"""Secrets, which no message and no file of this project may hold: recognised by their key, by how they begin, or as
the credentials in a URL, and refused.

A submitted experiment is kept in the store, shown to every client, and recorded with the metrics. Every pattern has
bounds, so that no text takes long to search.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from sandbox_actors.errors import Refused

_KEY = re.compile(
    r"(.*_)?(api_?key|secret|secret_?key|access_?key|private_?key|password|passwd|passphrase|credentials?"
    r"|(access|api|auth|bearer|hf|hub|refresh|secret|wandb)_?token)",
    re.IGNORECASE,
)
"""Does not match `token`, `api_key_env` or `max_tokens`, whose values are not secrets."""

_VALUE = re.compile(
    r"(?<![\w-])(sk-(?=[\w-]{0,64}\d)[\w-]{16,512}|hf_\w{20,64}|gh[opsu]_\w{30,255}|github_pat_\w{30,255}"
    r"|glpat-[\w-]{20,64}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|xox[abp]-[\w-]{20,255}|pypi-AgE[\w-]{50,512}"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----)(?![\w-])"
)
"""The form of keys of common services."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}\Z", re.IGNORECASE)
_USER = re.compile(
    r"""://(?P<user>[^\s/?#'"<>\\]{1,1024}|[^\s/@:'"<>]{0,255}:(?!\d{0,5}[/?#])[^\s@'"<>]{1,1024})@""", re.IGNORECASE
)
"""What stands before the `@` of a URL, also with a slash in the password, which people write though it is not valid."""

_QUERY = re.compile(r"""(?P<before>[?&;](?P<name>[\w.-]{1,64})=)(?P<value>[^\s&;#'"<>]{1,2048})""")
_QUERY_KEY = re.compile(r"(.*_)?(sig|signature|(security|session)_token)|token|auth|pwd|pass|jwt", re.IGNORECASE)
"""In a URL these are secrets too."""

_PATH_TOKEN = re.compile(r"(?P<before>://[^\s/]{1,255}/t/)(?P<token>[a-z]{2}-[0-9a-f-]{20,64})(?=/)", re.IGNORECASE)
"""The token of a conda channel."""

_BETWEEN_WORDS = re.compile(r"([\s'\"]+)")

_FROM_ENVIRONMENT = re.compile(r"\$\{\w{1,64}\}|\$\w{1,64}|\*{1,64}|")
"""Stands for a variable that pip and uv put in there, is masked already, or is empty: no secret."""

_DUMMIES = frozenset({"", "empty", "none", "null", "dummy", "fake", "no-key", "not-needed", "unused"})
"""What people write as the key of a server that needs none."""

PIECE, LONGEST = 65_536, 4_096
"""Characters of a text that are searched at a time, since a search stops all threads, and of the longest secret."""

MASK = "(secret)"

ADVICE = (
    "everyone who reads the file sees a secret in it: put it into an environment variable where the daemon is started "
    "(see `api_key_env`); credentials of a URL belong there or into ~/.netrc, those of a package index into "
    "PIP_INDEX_URL there, or as ${NAME} into a requirements file"
)
"""What is wrong with a secret in a file, and what to do."""


def is_secret(key: str, value: Any) -> bool:
    """Whether `value` under `key` (of a dotted key, its last part) is a secret, or a text that holds one."""
    if not isinstance(value, str) or value.strip().lower() in _DUMMIES:
        return False
    return _is_secret_key(key.rpartition(".")[2]) or has_secret(value)


def has_secret(text: str) -> bool:
    """Whether a text holds a key of a common service, or a URL with credentials, also a percent-encoded one."""
    pieces = (text[at : at + PIECE + LONGEST] for at in range(0, len(text), PIECE))
    return any(_VALUE.search(piece) or any(map(_has_credentials, _readings(piece))) for piece in pieces)


def find_secrets(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The keys and indices of each secret in `value`, in mappings and lists at any depth; of a key that is one, those
    of its mapping."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if has_secret(str(key)):
                yield keys
            else:
                yield from find_secrets(item, (*keys, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from find_secrets(item, (*keys, index))
    elif is_secret(next((key for key in reversed(keys) if isinstance(key, str)), ""), value):
        yield keys


def refuse_secrets(value: Any) -> None:
    """Raise Refused, with the keys of the first secret in `value`, if there is one."""
    for keys in find_secrets(value):
        raise Refused(f"{'.'.join(map(str, keys))}: {ADVICE}")


def mask_secrets(value: Any, key: str = "") -> Any:
    """`value` with `MASK` in place of each secret."""
    if isinstance(value, Mapping):
        return {without_secrets(str(name)): mask_secrets(item, str(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_secrets(item, key) for item in value]
    return MASK if is_secret(key, value) else value


def without_secrets(text: str) -> str:
    """A text for people, with each key of a common service and the credentials of each URL masked."""
    text = _VALUE.sub(MASK, text)
    if "%" in text:
        text = "".join(MASK if _is_hidden(word) else word for word in _BETWEEN_WORDS.split(text))
    if "://" not in text:
        return text
    text = _USER.sub(lambda url: "://***@" if _is_secret_user(url) else url.group(), text)
    text = _QUERY.sub(lambda part: f"{part['before']}***" if _is_secret_parameter(part) else part.group(), text)
    return _PATH_TOKEN.sub(r"\g<before>***", text)


def without_credentials(url: str) -> str:
    """A URL without the user, and the password, in it where these are secret: `git@` stays."""
    return _USER.sub(lambda found: "://" if _is_secret_user(found) else found.group(), url)


def _is_secret_key(name: str) -> bool:
    return _KEY.fullmatch(name.replace("-", "_")) is not None


def _readings(text: str) -> Iterator[str]:
    """The text, and what it says when it is decoded, once and twice."""
    yield text
    for _ in range(2):
        if "%" not in text:
            return
        text = unquote(text)
        yield text


def _has_credentials(text: str) -> bool:
    return "://" in text and (
        any(map(_is_secret_user, _USER.finditer(text)))
        or any(map(_is_secret_parameter, _QUERY.finditer(text)))
        or _PATH_TOKEN.search(text) is not None
    )


def _is_secret_user(url: re.Match[str]) -> bool:
    """Whether there is a password. In http, where no user is needed to say which account is meant, it is a token
    without one; elsewhere it is a name, as in `ssh://git@host`."""
    user, colon, password = unquote(url["user"]).partition(":")
    if colon and password:
        return not _FROM_ENVIRONMENT.fullmatch(password)
    scheme = _SCHEME.search(url.string[max(0, url.start() - 21) : url.start()])
    is_http = scheme is None or scheme.group().lower().rpartition("+")[2] in ("http", "https")
    return is_http and not _FROM_ENVIRONMENT.fullmatch(user)


def _is_secret_parameter(part: re.Match[str]) -> bool:
    name, value = part["name"].replace("-", "_"), part["value"]
    if value.lower() in _DUMMIES or _FROM_ENVIRONMENT.fullmatch(value):
        return False
    return _is_secret_key(name) or bool(_QUERY_KEY.fullmatch(name))


def _is_hidden(word: str) -> bool:
    """Whether a word holds a secret that is seen only when it is decoded."""
    first, *decoded = _readings(word)
    return bool(decoded) and not _has_credentials(first) and any(map(has_secret, decoded))
