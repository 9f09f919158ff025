"""How much memory a MessagePack document may take once it is decoded, told before it is: a megabyte of empty maps takes
73."""

from __future__ import annotations

from sandbox_actors.errors import Refused

DECODED_LIMIT = 32 * 1024 * 1024
"""Bytes that a request may take when it is decoded."""

ALWAYS_ACCEPTED = DECODED_LIMIT // 128
"""No document of so few bytes can come near the limit."""

PER_OBJECT, PER_BYTE = 72, 8
"""Bytes of CPython 3.11: of an empty map and its place in a list, the most for one byte, and of that place alone."""

PIECE = 1 << 20
"""Bytes looked at together."""

_ASCII = bytes(range(0x80))


def check_decoded_size(document: bytes | memoryview) -> None:
    """Raise Refused where `document` might take more than `DECODED_LIMIT` bytes.

    An upper bound, in one pass at the speed of memory: every object that takes memory of its own begins with a byte
    that is not ASCII. Text in other scripts counts as more than it is, half a megabyte of it is too much.
    """
    if len(document) <= ALWAYS_ACCEPTED:
        return
    view = memoryview(document)
    objects = sum(len(bytes(view[at : at + PIECE]).translate(None, _ASCII)) for at in range(0, len(view), PIECE))
    weight = objects * PER_OBJECT + len(document) * PER_BYTE
    if weight > DECODED_LIMIT:
        raise Refused(
            f"a request of {len(document)} bytes in which {objects} are not ASCII might take {weight} bytes when it is "
            f"read, and the daemon takes {DECODED_LIMIT}; put long lists and texts into files"
        )
