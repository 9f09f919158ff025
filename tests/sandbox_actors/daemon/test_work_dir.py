"""What an experiment leaves in its work_dir."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from sandbox_actors.daemon.work_dir import CONTEXT_FILE, WorkDir


def test_context_infos_are_strict_json_whatever_numbers_an_output_has(tmp_path: Path) -> None:
    outputs = {"meta_name": "train", "loss": math.nan, "scores": [math.inf, {"least": -math.inf}], "path": "é"}
    WorkDir(tmp_path, [], has_iterations=False).write_context(
        [{"iter": 1, "context_infos": {"anonymous": [outputs]}}], is_durable=False
    )
    written = json.loads((tmp_path / CONTEXT_FILE).read_text(), parse_constant=pytest.fail)
    (job,) = written[0]["context_infos"]["anonymous"]
    assert job == {"meta_name": "train", "loss": "NaN", "scores": ["Infinity", {"least": "-Infinity"}], "path": "é"}
