"""Digests of samples: equal for samples with equal content, whatever bytes represent it.

Two samples have the same content if their keys and values are equal, in any order of the keys. Numbers are equal by
value (1 and 1.0), but no number equals true or false. A key whose value is null counts as missing, as in every table
that Data-Juicer reads. Stats are part of the content. A repeated key has its last value.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from components.pools.parsing import Lines, misfit

DIGEST = 16
"""Bytes: the probability that two of 10^12 different samples have equal digests is 10^-15."""


def canonical(sample: Any) -> bytes:
    """The same text for all samples with the same content. Numbers must be results of `number`."""
    text = _encode(sample)
    return _encode(_without_nulls(sample)) if b"null" in text else text


def number(text: str) -> int | float:
    """The number in a JSON text, an int if it is whole. Raises ValueError beyond the range of floats."""
    return whole(float(text))


def whole(value: float) -> int | float:
    """The same number, as an int if it is whole. Raises ValueError if it is not finite."""
    if not -float("inf") < value < float("inf"):
        raise ValueError("a number out of range")
    return int(value) if value.is_integer() else value


def digest(sample: Any) -> bytes:
    return hashlib.blake2b(canonical(sample), digest_size=DIGEST).digest()


def digests_of_lines(lines: Lines) -> Any:
    """A numpy array of two 64-bit numbers a sample. Raises ComponentFailed with file and line for invalid JSON."""
    import numpy as np

    decode = msgspec.json.Decoder(dict[str, Any], float_hook=number).decode
    digests = bytearray()
    for _, _, block in lines.blocks():
        for line in block.removesuffix(b"\n").split(b"\n"):
            try:
                digests += digest(decode(line))
            except (ValueError, RecursionError) as error:
                raise misfit(lines, len(digests) // DIGEST, error) from error
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


_encode = msgspec.json.Encoder(order="deterministic").encode


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
