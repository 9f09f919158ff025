"""The folder of an analysis, which lies beside the export, where others may have put something."""

from __future__ import annotations

from pathlib import Path

from components.data.analyzer import DataAnalyzer
from components.data.juicer import Job


def test_a_link_in_its_place_is_replaced_and_what_it_names_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "staging" / "analysis").mkdir(parents=True)
    (tmp_path / "out_analysis").symlink_to(tmp_path / "docs")
    job = Job(None, tmp_path / "out.jsonl", tmp_path / "staging")
    for _ in range(2):  # a folder of the run before is replaced too
        made = DataAnalyzer._keep_analysis(tmp_path / "staging" / "analysis", job)
        assert made == tmp_path / "out_analysis"
        assert not made.is_symlink()
        (tmp_path / "staging" / "analysis").mkdir()
    assert list((tmp_path / "docs").iterdir()) == []
