"""Estimates, before a MessagePack document is decoded, how much memory it may take: one megabyte of empty maps takes 73
megabytes."""

from __future__ import annotations

from sandbox_actors.errors import Refused

DECODED_LIMIT = 32 * 1024 * 1024
"""Bytes of memory that a decoded request may take."""

ALWAYS_ACCEPTED = DECODED_LIMIT // 128
"""Documents of at most so many bytes cannot reach the limit."""

PER_OBJECT, PER_BYTE = 72, 8
"""Bytes in CPython 3.11: an empty map with its slot in a list, the most that one byte can cause; and the slot alone."""

PIECE = 1 << 20
"""Bytes that are counted at a time."""

_ASCII = bytes(range(0x80))


def check_decoded_size(document: bytes | memoryview) -> None:
    """Raise Refused if `document` might take more than `DECODED_LIMIT` bytes.

    An upper bound, in one pass at the speed of memory: every object that takes memory of its own begins with a byte
    that is not ASCII. Text in other scripts is overestimated: half a megabyte of it is refused.
    """
    if len(document) <= ALWAYS_ACCEPTED:
        return
    view = memoryview(document)
    objects = sum(len(bytes(view[at : at + PIECE]).translate(None, _ASCII)) for at in range(0, len(view), PIECE))
    weight = objects * PER_OBJECT + len(document) * PER_BYTE
    if weight > DECODED_LIMIT:
        raise Refused(
            f"a request of {len(document)} bytes in which {objects} are not ASCII might take {weight} bytes of "
            f"memory, and the limit is {DECODED_LIMIT}; put long lists and texts into files"
        )
