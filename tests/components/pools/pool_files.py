"""Pools for tests: lines that are JSON in many a dress, and files of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.components.conftest import ComponentProcess, Ran

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)


@st.composite
def lines(draw: st.DrawFn, samples: st.SearchStrategy[dict[str, Any]] | None = None) -> bytes:
    """One sample, as one of the texts that mean it."""
    sample = draw(samples if samples is not None else st.dictionaries(texts, values, max_size=3))
    separators = draw(st.sampled_from([(", ", ": "), (",", ":"), (" ,\t", " : ")]))
    text = json.dumps(sample, ensure_ascii=draw(st.booleans()), separators=separators)
    return (draw(st.sampled_from(["", " ", "\t"])) + text + draw(st.sampled_from(["", " ", "\r"]))).encode()


@st.composite
def files(draw: st.DrawFn, samples: st.SearchStrategy[dict[str, Any]] | None = None) -> tuple[list[bytes], bytes]:
    """The samples of a pool, and the bytes of a file that holds them."""
    held = draw(st.lists(lines(samples), min_size=1, max_size=8))
    written = b""
    for line in held:
        written += draw(st.sampled_from([b"", b"", b"", b"\n", b" \r\n\n"])) + line + b"\n"
    written = draw(st.sampled_from([written, written, written[:-1], written + b"\n"]))
    return held, draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + written


def write_pool(path: Path, samples: Iterable[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return str(path)


def read_pool(path: str | Path) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_bytes().splitlines()]


def unfinished(folder: Path) -> list[str]:
    """Names of what a job should have left nowhere."""
    return sorted(path.name for path in folder.rglob(".*"))


def done(process: ComponentProcess, config: dict[str, Any]) -> Any:
    ran = process.run(config)
    assert ran.error is None, ran.error
    return ran.result


def refused(process: ComponentProcess, config: dict[str, Any]) -> str:
    ran: Ran = process.run(config)
    assert ran.error is not None, f"not refused, but {ran.result!r}"
    return ran.error
