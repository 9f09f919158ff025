"""Answers on disk: found again for the same inference, and only for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.inference.checkpoint import Unfinished
from sandbox_actors.errors import ComponentFailed

IDENTITY = {"model": "m", "data": "1"}


def partials(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.partial"))


def test_answers_are_found_again_by_the_same_inference_only(tmp_path: Path) -> None:
    export = tmp_path / "x_inference.jsonl"
    first = Unfinished(export, IDENTITY, 3)
    first.keep(2, {"text": "é\n"})
    first.keep(0, "zero")
    first.close()
    again = Unfinished(export, IDENTITY, 3)
    assert (again.count, again[2], again[0], 1 in again) == (2, {"text": "é\n"}, "zero", False)
    again.keep(1, "one")
    assert again[1] == "one"
    other = Unfinished(export, {**IDENTITY, "model": "other"}, 3)
    assert other.count == 0
    other.close()
    again.remove()
    assert partials(tmp_path) == [], "the other one is outdated too"


@pytest.mark.parametrize("end", [b"[1, ", b'[1, "whole but for its end"]', b"\xff\xfe\n[0", b"[7, 1]\n", b"[-1, 1]\n"])
def test_what_a_killed_process_had_begun_to_write_is_forgotten(tmp_path: Path, end: bytes) -> None:
    export = tmp_path / "x_inference.jsonl"
    first = Unfinished(export, IDENTITY, 3)
    first.keep(0, "zero")
    first.close()
    (path,) = partials(tmp_path)
    path.write_bytes(path.read_bytes() + end)
    again = Unfinished(export, IDENTITY, 3)
    assert [number in again for number in range(3)] == [True, False, False]
    again.keep(1, "one")
    again.close()
    last = Unfinished(export, IDENTITY, 3)
    assert (last[0], last[1]) == ("zero", "one")
    last.close()


def test_a_file_with_half_a_first_line_is_begun_anew(tmp_path: Path) -> None:
    export = tmp_path / "x_inference.jsonl"
    Unfinished(export, IDENTITY, 1).close()
    (path,) = partials(tmp_path)
    path.write_bytes(path.read_bytes()[:5])
    again = Unfinished(export, IDENTITY, 1)
    again.keep(0, "zero")
    again.close()
    last = Unfinished(export, IDENTITY, 1)
    assert last[0] == "zero"
    last.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    export = tmp_path / "x_inference.jsonl"
    first = Unfinished(export, IDENTITY, 1)
    with pytest.raises(ComponentFailed, match="another process is writing"):
        Unfinished(export, IDENTITY, 1)
    first.close()


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    export, precious = tmp_path / "x_inference.jsonl", tmp_path / "precious"
    Unfinished(export, IDENTITY, 1).close()
    (path,) = partials(tmp_path)
    path.unlink()
    precious.write_text("precious")
    path.symlink_to(precious)
    with pytest.raises(ComponentFailed, match="cannot write beside"):
        Unfinished(export, IDENTITY, 1)
    assert precious.read_text() == "precious"
