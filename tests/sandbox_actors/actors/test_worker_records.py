"""Folders of workers and bundles that somebody has prepared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox_actors.actors import worker_bundle
from sandbox_actors.actors.worker_records import WorkerRecords
from sandbox_actors.errors import Refused


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "thesis").mkdir(parents=True)
    return tmp_path / "docs"


@pytest.mark.parametrize("use", [WorkerRecords.make_scratch, WorkerRecords.remove])
def test_a_link_in_place_of_the_scratch_folder_is_not_followed(
    tmp_path: Path, docs: Path, use: Callable[[WorkerRecords, str], None]
) -> None:
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "scratch").symlink_to(docs)
    records = WorkerRecords(tmp_path / "workers", tmp_path / "short" / "scratch")
    if use is WorkerRecords.make_scratch:
        with pytest.raises(Refused, match="scratch is a link"):
            use(records, "thesis")
    else:
        use(records, "thesis")
    assert [path.name for path in docs.iterdir()] == ["thesis"]


def test_scratch_that_was_removed_is_made_again_and_is_empty(tmp_path: Path) -> None:
    records = WorkerRecords(tmp_path / "workers", tmp_path / "short" / "scratch")
    for _ in range(2):
        records.make_scratch("worker-1")
        assert list(records.scratch_of("worker-1").iterdir()) == []
        (records.scratch_of("worker-1") / "left").write_text("")


def test_a_bundle_that_others_could_change_is_laid_out_again(tmp_path: Path) -> None:
    root = tmp_path / "bundles"
    bundle = worker_bundle.lay_out(root)
    assert root.stat().st_mode & 0o777 == 0o700
    entry = bundle / worker_bundle.ENTRY
    entry.write_text("print('not ours')")
    root.chmod(0o777)
    assert worker_bundle.lay_out(root) == bundle
    assert "not ours" not in entry.read_text()
    assert root.stat().st_mode & 0o777 == 0o700


def test_bundles_are_not_laid_out_through_a_link(tmp_path: Path, docs: Path) -> None:
    (tmp_path / "bundles").symlink_to(docs)
    with pytest.raises(Refused, match="bundles is a link"):
        worker_bundle.lay_out(tmp_path / "bundles")
    assert [path.name for path in docs.iterdir()] == ["thesis"]
