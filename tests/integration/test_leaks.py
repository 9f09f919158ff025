"""Hundreds of jobs leak nothing: no processes, descriptors, threads or files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from sandbox_actors.protocol.rows import ExperimentDetail

from .conftest import Sandbox

JOBS = 500
FEW = 20
DEADLINE = 20.0


def held(sandbox: Sandbox) -> dict[str, Any]:
    """What a daemon without actors holds. Logs belong to the experiments, and byte code is cached: neither counts."""
    assert sandbox.daemon is not None
    descriptors = Path("/proc", str(sandbox.daemon.pid), "fd").iterdir()
    files = [path for path in sandbox.home.rglob("*") if not path.is_symlink() and path.is_file()]
    scratch = sandbox.paths.scratch
    return {
        "processes": sorted(process.name() for process in sandbox.processes()),
        "descriptors": sorted(os.readlink(each).partition(":[")[0] for each in descriptors),
        "files": sorted(str(path) for path in files if not {"log", "logs", "envs", "__pycache__"} & set(path.parts)),
        "scratch": sorted(os.listdir(scratch)) if scratch.exists() else [],
    }


def run(sandbox: Sandbox, count: int) -> ExperimentDetail:
    """Run `count` jobs, each of which leaves two children running; in every fifth, the worker dies."""
    leaves = {"type": "LeavesChildren", "keep_alive": 1.0}
    jobs = [{**leaves, "meta_name": f"job{n}", "dies": n % 5 == 0} for n in range(count)]
    definition = sandbox.definition(*jobs, work_dir=str(sandbox.cwd / "work"))
    definition["experiment"]["parallel"] = True
    pipeline = definition["experiment"]["pipelines"][0]
    parts = [{**pipeline, "name": f"p{n}", "execution_jobs": [job]} for n, job in enumerate(pipeline["execution_jobs"])]
    definition["experiment"]["pipelines"] = parts
    with sandbox.client() as client:
        return sandbox.wait(client, client.submit_definition(definition))


def wait_empty(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        for row in client.workers():
            client.stop_worker(row.worker, force=True)
        deadline = time.monotonic() + DEADLINE
        while client.workers() or sandbox.processes():
            assert time.monotonic() < deadline, [each.cmdline() for each in sandbox.processes()]
            time.sleep(0.05)


def test_jobs_that_leave_children_running_leak_nothing(sandbox: Sandbox) -> None:
    run(sandbox, FEW)
    wait_empty(sandbox)
    before, threads = held(sandbox), threads_of(sandbox)
    detail = run(sandbox, JOBS)
    states = [job.state for job in detail.jobs]
    assert (states.count("failed"), states.count("succeeded")) == (JOBS // 5, JOBS - JOBS // 5)
    wait_empty(sandbox)
    deadline = time.monotonic() + DEADLINE  # trio keeps idle threads for a while
    while held(sandbox) != before or threads_of(sandbox) > threads:
        assert time.monotonic() < deadline, (held(sandbox), before, threads_of(sandbox), threads)
        time.sleep(0.1)


def threads_of(sandbox: Sandbox) -> int:
    assert sandbox.daemon is not None
    return len(os.listdir(Path("/proc", str(sandbox.daemon.pid), "task")))
