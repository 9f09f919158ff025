from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from components.models.texts import read_texts
from sandbox_actors.errors import ComponentFailed


def test_texts_come_in_the_order_of_the_lines_of_one_file_or_several(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one\\u2028line", "other": 1}\n\n{"text": "two"}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "three"}')
    a, b = str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")
    assert read_texts(a) == ["one\u2028line", "two"]
    assert read_texts([b, a]) == ["three", "one\u2028line", "two"]


def test_samples_without_text_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": ""}\n{"content": "x"}\n{"text": null}\n{"text": "kept"}\n')
    assert read_texts(str(path)) == ["kept"]
    assert read_texts(str(path), "content") == ["x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": \n', r"a\.jsonl, line 2: not JSON"),
        ("[1]\n", r"a\.jsonl, line 1: a sample must be an object, not \[1\]"),
        ('{"other": 1}\n', r"a\.jsonl contains no sample with text under 'text'"),
    ],
)
def test_what_is_no_dataset_is_told_with_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(ComponentFailed, match=message):
        read_texts(str(path))


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComponentFailed, match=r"cannot read the dataset .*absent\.jsonl"):
        read_texts(str(tmp_path / "absent.jsonl"))
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ComponentFailed, match=r"cannot read the dataset .*bytes\.jsonl"):
        read_texts(str(tmp_path / "bytes.jsonl"))


def test_shards_of_a_folder_are_read_by_name_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"text": "last"}\n')
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "first"}\n'))
    for aside in ("notes.md", "b_stats.jsonl", ".c.jsonl"):
        (tmp_path / aside).write_text('{"text": "not one of them"}')
    assert read_texts(str(tmp_path)) == ["first", "last"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.gz", b"no gzip", "Not a gzipped file"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "cut off"}', mtime=0)[:-9], "ended before the end-of-stream"),
        ("a.parquet", b"PAR1", "Parquet is not supported; export jsonl"),
        ("a.jsonl.zst", b"\x28\xb5\x2f\xfd", "zstd is not supported; unpack it"),
    ],
)
def test_what_is_packed_otherwise_or_cut_off_is_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ComponentFailed, match=message):
        read_texts(str(tmp_path / name))


def test_a_folder_without_shards_is_told(tmp_path: Path) -> None:
    with pytest.raises(ComponentFailed, match="contains no shards of a dataset"):
        read_texts(str(tmp_path))
