"""The journal of a run: what its worker wrote completely is read, and nothing else."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from sandbox_actors.jobs.run_folders import RunFolders
from sandbox_actors.protocol.rows import Point
from sandbox_actors.protocol.run_files import JOURNAL, LENGTH, encode_kept
from sandbox_actors.worker.run_journal import Journal

RUN = "1.1.0.1"
FIRST, SECOND, LAST = ([Point(name="loss", value=value, step=1)] for value in (0.5, 0.25, 0.125))


def entry(points: list[Point]) -> bytes:
    data = encode_kept(points)
    return LENGTH.pack(len(data)) + data


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal of two entries, written by a worker."""
    folder = tmp_path / RUN
    folder.mkdir()
    for points in (FIRST, SECOND):
        assert Journal(str(folder)).append(points)
    return folder / JOURNAL


def torn_entries() -> list[bytes]:
    """The last entry cut after each of its bytes, the length included."""
    whole = entry(LAST)
    return [whole[:size] for size in range(1, len(whole))]


def test_every_complete_entry_is_read_in_order(tmp_path: Path, journal: Path) -> None:
    size = journal.stat().st_size
    assert RunFolders(tmp_path).journal(RUN, 0) == ([*FIRST, *SECOND], size)
    assert RunFolders(tmp_path).journal(RUN, len(entry(FIRST))) == (SECOND, size)
    assert RunFolders(tmp_path).journal(RUN, size) == ([], size)


def test_a_torn_last_entry_is_left_out_wherever_it_is_cut(tmp_path: Path, journal: Path) -> None:
    complete = journal.read_bytes()
    for torn in torn_entries():
        journal.write_bytes(complete + torn)
        assert RunFolders(tmp_path).journal(RUN, 0) == ([*FIRST, *SECOND], len(complete)), torn


def test_a_torn_entry_is_read_once_it_is_complete(tmp_path: Path, journal: Path) -> None:
    complete = journal.read_bytes()
    journal.write_bytes(complete + entry(LAST)[:-1])
    _, position = RunFolders(tmp_path).journal(RUN, 0)
    journal.write_bytes(complete + entry(LAST))
    assert RunFolders(tmp_path).journal(RUN, position) == (LAST, journal.stat().st_size)


@pytest.mark.parametrize(
    "garbage",
    [
        LENGTH.pack(4) + b"\xc1\xc1\xc1\xc1",
        LENGTH.pack(3) + b"\x93\x01\x02",
        LENGTH.pack(5) + encode_kept({"a": 1})[:5].ljust(5, b"\0"),
        LENGTH.pack(0),
        LENGTH.pack(2**32 - 1) + b"a few bytes",
    ],
    ids=["not msgpack", "an array cut short", "another type", "empty", "a length beyond the end"],
)
def test_a_garbled_last_entry_is_left_out_and_what_is_before_it_is_kept(
    tmp_path: Path, journal: Path, garbage: bytes
) -> None:
    complete = journal.read_bytes()
    journal.write_bytes(complete + garbage)
    assert RunFolders(tmp_path).journal(RUN, 0) == ([*FIRST, *SECOND], len(complete))


def test_a_short_entry_whose_bytes_are_a_valid_message_is_left_out(tmp_path: Path, journal: Path) -> None:
    """Its length says that more belongs to it, though what is there can be decoded."""
    complete, data = journal.read_bytes(), encode_kept(LAST)
    journal.write_bytes(complete + LENGTH.pack(len(data) + 1) + data)
    assert RunFolders(tmp_path).journal(RUN, 0) == ([*FIRST, *SECOND], len(complete))


def test_an_entry_that_the_disk_takes_only_in_part_is_removed_again(tmp_path: Path, journal: Path) -> None:
    complete = journal.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(complete) + 5, hard))
    try:
        assert not Journal(str(journal.parent)).append(LAST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.read_bytes() == complete
    assert Journal(str(journal.parent)).append(LAST)
    assert RunFolders(tmp_path).journal(RUN, len(complete)) == (LAST, journal.stat().st_size)


def test_a_run_without_a_journal_has_no_points(tmp_path: Path) -> None:
    assert RunFolders(tmp_path).journal(RUN, 0) == ([], 0)


def test_no_run_is_removed_or_started_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "docs" / "thesis").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "docs")
    folders = RunFolders(tmp_path / "runs")
    assert folders.read() == []
    folders.remove("thesis")
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["thesis"]
