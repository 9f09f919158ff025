"""Counts duplicate and near-duplicate texts."""

from __future__ import annotations

import importlib
from hashlib import blake2b
from typing import Any

SHINGLE = 5
"""Words; a shorter text is one shingle."""

PERMUTATIONS = 128
_SEED = 42

_RECALL = 0.98
"""The share of the pairs with exactly the threshold's similarity that become candidates."""


class Duplicates:
    """Counts texts as they are added.

    Two texts are near-duplicates if the Jaccard similarity of their sets of shingles (five lower-cased words in a row)
    is at least `threshold`, as MinHash estimates it with 128 permutations: standard error sqrt(J (1 - J) / 128), 0.035
    at 0.8. Candidates come from locality-sensitive hashing (datasketch's MinHashLSH), so that not all pairs are
    compared. Near-duplicates of near-duplicates are in one group. Needs about 2 kB for each distinct text.
    """

    def __init__(self, threshold: float | None) -> None:
        """Without a threshold, only equal texts are counted."""
        self._threshold = threshold
        self._seen: set[bytes] = set()
        self._signatures: list[Any] = []
        self._parents: list[int] = []
        if threshold is not None:
            self._library: Any = importlib.import_module("datasketch")
            self._index = self._library.MinHashLSH(num_perm=PERMUTATIONS, params=bands(threshold))

    def add(self, text: str, words: list[str]) -> None:
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            return
        self._seen.add(digest)
        if self._threshold is not None:
            self._compare(words, self._threshold)

    @property
    def different(self) -> int:
        """The number of texts if one of each set of equal ones is kept."""
        return len(self._seen)

    @property
    def groups(self) -> int:
        """The number of texts if one of each group of near-duplicates is kept."""
        return sum(self._parents[each] == each for each in range(len(self._parents)))

    def _compare(self, words: list[str], threshold: float) -> None:
        own = len(self._signatures)
        signature = self._library.MinHash(num_perm=PERMUTATIONS, seed=_SEED)
        signature.update_batch(_shingles(words))
        self._parents.append(own)
        for other in self._index.query(signature):
            if signature.jaccard(self._signatures[other]) >= threshold:
                self._parents[self._root(other)] = self._root(own)
        self._signatures.append(signature)
        self._index.insert(own, signature)

    def _root(self, each: int) -> int:
        while self._parents[each] != each:
            self._parents[each] = self._parents[self._parents[each]]
            each = self._parents[each]
        return each


def bands(threshold: float) -> tuple[int, int]:
    """The number of bands and their rows: as many rows as possible, which makes the fewest candidates, such that a pair
    of that similarity agrees in one of b bands of r rows with the probability 1 - (1 - J^r)^b >= _RECALL."""
    for rows in range(PERMUTATIONS // 2, 1, -1):
        count = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** count >= _RECALL:
            return count, rows
    return PERMUTATIONS, 1


def _shingles(words: list[str]) -> list[bytes]:
    lowered = [word.lower() for word in words]
    starts = range(max(1, len(lowered) - SHINGLE + 1))
    return [" ".join(lowered[start : start + SHINGLE]).encode("utf-8", "surrogatepass") for start in starts]
