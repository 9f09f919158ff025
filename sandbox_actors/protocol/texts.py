"""Text of unknown length and content, made fit for a message or a row: bounded, and always valid UTF-8."""

from __future__ import annotations

from sandbox_actors.protocol.secrets import without_secrets

LONGEST = 16 * 1024
"""Characters of an error as it is stored and shown."""

LOGGED = "the log has all of it"

_NOTE_ROOM = 128


def bounded(text: str, limit: int = LONGEST, whole: str = LOGGED) -> str:
    """`text`; if it has more than `limit` characters, its beginning and end, and between them a line that says how much
    was left out and where the whole is. The result has at most `limit` characters, at least 128.

    What stands for bytes that are not UTF-8, as in the name of a file, cannot be sent: it becomes `\\xff` and so on.
    """
    if not text.isascii():
        text = _encodable(text)
    if len(text) <= limit:
        return text
    kept = max(0, limit - _NOTE_ROOM) // 2
    note = f"[{len(text) - 2 * kept:,} characters are left out here{f'; {whole}' if whole else ''}]"
    return f"{text[:kept]}\n{note}\n{text[len(text) - kept :]}"


def _encodable(text: str) -> str:
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a character, which stands for no byte
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def bounded_line(text: str, limit: int) -> str:
    """The first line of `text`, with an ellipsis in place of what it has beyond `limit` characters."""
    line = text.strip()[: limit + 1].partition("\n")[0]
    return bounded(line if len(line) <= limit else f"{line[: limit - 1]}…")


def text_of(error: BaseException, limit: int = LONGEST) -> str:
    """`bounded(str(error))` without secrets, also of an exception whose text cannot be had."""
    try:
        return bounded(without_secrets(str(error)), limit)
    except Exception as failure:
        return f"an exception whose text cannot be had: {type(failure).__name__}"
