"""Data pools with a real daemon: the example, and what `check` refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from .commands import COMMAND, ROOT, environ_of
from .commands import sandbox as command
from .conftest import Sandbox


def lines_of(path: str) -> list[bytes]:
    return Path(path).read_bytes().splitlines()


def test_the_example_creates_its_pools_and_loses_no_byte(sandbox: Sandbox) -> None:
    (sandbox.cwd / "configs").symlink_to(ROOT / "configs")
    ran = subprocess.run(
        [*COMMAND, "run", "configs/pools/sandbox.yaml"],
        cwd=sandbox.cwd,
        env=environ_of(sandbox),
        capture_output=True,
        text=True,
        timeout=600,  # envs may have to be built
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    shown = json.loads(command(sandbox, "show", "@", "--json").stdout)
    infos = shown["iterations"][0]["context_infos"]
    outputs: dict[str, Any] = {job["meta_name"]: job for jobs in infos.values() for job in jobs}
    analysed = lines_of(outputs["analyse"]["analysed"])
    parts = outputs["construct"]["parts"]
    assert len(analysed) == 1500
    assert len(parts) == 9
    for thirds in (parts[:3], parts[3:6], parts[6:]):
        assert sorted(line for path in thirds for line in lines_of(path)) == sorted(analysed)
    tops = [set(lines_of(path)) for path in parts[2::3]]
    combined = {Path(path).name.split("_top_")[1]: set(lines_of(path)) for path in outputs["combine"]["combined"]}
    found = {name.split("_num_")[0]: samples for name, samples in combined.items()}
    assert found["0_1"] == tops[0] & tops[1]
    assert [len(lines_of(path)) for path in outputs["downsample"]["small"]] == [100] * 9
    assert len(lines_of(outputs["merge"]["merged"])) == 900
    assert [len(lines_of(path)) for path in outputs["duplicate"]["duplicates"]] == [1800, 3600]
    small = outputs["downsample"]["small"]
    assert sorted(outputs["rank"]["ranked"]) == sorted([small[0], small[2]])


def test_check_finds_the_mistakes_in_a_pool_job(served: Sandbox) -> None:
    job = {"hook": "DataPoolManipulationHook", "meta_name": "pools"}
    config = {"type": "data_pool_duplication", "dataset_path": "absent.jsonl", "export_path": "out", "suffle": True}
    document = {"project_name": "p", "experiment_name": "e", "work_dir": "out"}
    document["execution_job_configs"] = [{**job, "extra_configs": config}]  # type: ignore[assignment]
    (served.cwd / "pools.json").write_text(json.dumps(document))
    checked = json.loads(command(served, "check", "pools.json", "--json").stdout)
    messages = " ".join(error["message"] for error in checked["errors"])
    assert "needs 'duplicating_times'" in messages
    assert "there is no file or folder 'absent.jsonl'" in messages
    assert "no key 'suffle'; did you mean 'shuffle'?" in messages
