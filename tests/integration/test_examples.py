"""The programs in examples/, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys

from .commands import LIMIT, ROOT, environ_of, job, training, write
from .conftest import Sandbox


def run_client(place: Sandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / "client.py"), *arguments],
        cwd=place.cwd,
        env=environ_of(place),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_the_client_prints_progress_metrics_and_outputs(served: Sandbox) -> None:
    file = write(served, "example", one=[job("Returns", "give", value={"a": 1.5}), training()])
    done = run_client(served, file, "one.give.extra_configs.value=[7, 8]")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("is submitted")
    assert "one.train (iteration 1): succeeded by a new actor" in lines
    assert "metric one.train.loss (iteration 1): 0.2, 5 values" in lines
    assert "output one.give (iteration 1): {'res_0': [7, 8]}" in lines


def test_the_client_reports_a_failed_job_and_a_bad_file(served: Sandbox) -> None:
    failing = write(served, "failing", one=[job("Fails", "fail", how="raise")])
    done = run_client(served, failing)
    assert done.returncode == 1
    assert "one.fail failed: ValueError: the data are" in done.stderr
    assert "the end of its log:\nabout to fail" in done.stderr
    assert "`sandbox resume" in done.stderr
    bad = write(served, "bad", one=[job("Returns", "give", hook="GeneralProbHook", value=1)])
    done = run_client(served, bad)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'GeneralProbeHook'?" in done.stderr
