"""Runs text classifiers that were trained with Spark, without Spark: reads and applies the folder of a PipelineModel.

Data-Juicer's quality classifiers are pipelines of a tokenizer (splits lower-cased text at blanks; missing where the
words come from another tokenizer), a HashingTF (the hash of a word selects its feature), and a binary
LogisticRegression: p = 1 / (1 + exp(-(b + sum over words of w[hash(word) mod n]))). Spark itself takes
15 s to start and needs Java. The results are bit for bit those of Spark 4.3 wherever they were compared.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sandbox_actors.errors import ComponentFailed

_BLANK = re.compile(r"[ \t\n\x0b\f\r]")
_SEED = 42
_MASK = 0xFFFFFFFF


class SparkClassifier:
    """`path` is the folder of a PipelineModel. Raises ComponentFailed for another folder, or another kind of model."""

    def __init__(self, path: Path) -> None:
        stages = sorted((path / "stages").glob("*_*"), key=lambda stage: int(stage.name.partition("_")[0]))
        made = {_class(metadata): (stage, metadata) for stage in stages for metadata in [_metadata(stage)]}
        if not {"HashingTF", "LogisticRegressionModel"} <= made.keys() <= _KNOWN:
            found = ", ".join(made) or "none of them"
            raise ComponentFailed(f"{path} is not a Spark pipeline of {', '.join(sorted(_KNOWN))}: found {found}")
        self.splits_text = "Tokenizer" in made
        _, hashing = made["HashingTF"]
        self._features = int(_setting(hashing, "numFeatures"))
        self._is_binary = bool(_setting(hashing, "binary"))
        self._is_legacy = int(hashing["sparkVersion"].partition(".")[0]) < 3
        self._weights, self._intercept = _regression(made["LogisticRegressionModel"][0])
        self._indices: dict[str, int] = {}

    def probability(self, words: Iterable[str]) -> float:
        """The probability of class 1 for a text of these words."""
        indices = [self._index(word) for word in words]
        weights = (self._weights[index] for index in (set(indices) if self._is_binary else indices))
        margin = self._intercept + math.fsum(weights)
        return 1 / (1 + math.exp(-margin)) if margin > -700 else 0.0

    def _index(self, word: str) -> int:
        index = self._indices.get(word)
        if index is None:
            index = self._indices[word] = murmur3(word.encode(), self._is_legacy) % self._features
        return index


_KNOWN = {"Tokenizer", "HashingTF", "LogisticRegressionModel"}


def split(text: str) -> list[str]:
    """Words as Spark's Tokenizer makes them: between two blanks is an empty word, but not after blanks at the end."""
    words = _BLANK.split(text.lower())
    while len(words) > 1 and not words[-1]:
        words.pop()
    return words


def murmur3(data: bytes, is_legacy: bool = False) -> int:
    """MurmurHash3 x86 32 as Spark uses it, a signed number. Before Spark 3 (`is_legacy`), each of the last one to
    three bytes was a block of its own."""
    state, whole = _SEED, len(data) & ~3
    for start in range(0, whole, 4):
        state = _mixed(state, int.from_bytes(data[start : start + 4], "little"))
    if is_legacy:
        for byte in data[whole:]:
            state = _mixed(state, byte - 256 if byte > 127 else byte)
    elif whole < len(data):
        state ^= _scrambled(int.from_bytes(data[whole:], "little"))
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & _MASK
    state = (state ^ state >> 13) * 0xC2B2AE35 & _MASK
    state ^= state >> 16
    return state - (1 << 32) if state >> 31 else state


def _mixed(state: int, block: int) -> int:
    return _rotated(state ^ _scrambled(block), 13) * 5 + 0xE6546B64 & _MASK


def _scrambled(block: int) -> int:
    return _rotated((block & _MASK) * 0xCC9E2D51 & _MASK, 15) * 0x1B873593 & _MASK


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> 32 - by) & _MASK


def _metadata(stage: Path) -> dict[str, Any]:
    parts = sorted((stage / "metadata").glob("part-*"))
    try:
        content: dict[str, Any] = json.loads(parts[0].read_text(encoding="utf-8").splitlines()[0])
        return {"paramMap": {}, "defaultParamMap": {}, **content, "class": content["class"]}
    except (IndexError, OSError, ValueError, KeyError) as error:
        raise ComponentFailed(f"{stage} is not a stage of a Spark pipeline: {error!r}") from error


def _class(metadata: dict[str, Any]) -> str:
    return str(metadata["class"]).rpartition(".")[2]


def _setting(metadata: dict[str, Any], name: str) -> Any:
    """A parameter; older versions of Spark wrote the defaults in the same place."""
    defaults = {"numFeatures": 1 << 18, "binary": False}
    return metadata["paramMap"].get(name, metadata["defaultParamMap"].get(name, defaults[name]))


def _regression(stage: Path) -> tuple[list[float], float]:
    """The weights and the intercept of a binary logistic regression."""
    parquet: Any = importlib.import_module("pyarrow.parquet")
    (row,) = parquet.read_table(str(stage / "data")).to_pylist()
    if row["isMultinomial"] or row["numClasses"] != 2:
        raise ComponentFailed(f"{stage} has {row['numClasses']} classes; a quality classifier has two")
    (intercept,) = _vector(row["interceptVector"], 1)
    return _only_row(row["coefficientMatrix"]), intercept


def _vector(vector: dict[str, Any], size: int) -> list[float]:
    if vector["type"] == 1:
        return list(vector["values"])
    dense = [0.0] * size
    for index, value in zip(vector["indices"], vector["values"], strict=True):
        dense[index] = value
    return dense


def _only_row(matrix: dict[str, Any]) -> list[float]:
    """A matrix of one row. A sparse one names its columns: stored by columns as ranges of `colPtrs`, transposed as
    `rowIndices`."""
    if matrix["type"] == 1:
        return list(matrix["values"])
    if matrix["isTransposed"]:
        columns = matrix["rowIndices"]
    else:
        ends = matrix["colPtrs"]
        columns = [column for column in range(matrix["numCols"]) if ends[column] < ends[column + 1]]
    return _vector({"type": 0, "indices": columns, "values": matrix["values"]}, matrix["numCols"])
