"""`resources` of a job: cpus, memory, gpus."""

from __future__ import annotations

import os
import re
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox_actors.errors import Refused
from sandbox_actors.experiment.model import Resources
from sandbox_actors.system.limits import cgroups
from sandbox_actors.system.machine import this_machine

from .conftest import Sandbox

LIMIT = 256 * 1024**2


def with_resources(definition: dict[str, Any], resources: Resources) -> dict[str, Any]:
    for job in definition["experiment"]["pipelines"][0]["execution_jobs"]:
        job["resources"] = {name: value for name in ("cpus", "gpus", "memory") if (value := getattr(resources, name))}
    return definition


@pytest.mark.parametrize("in_child", [False, True])
def test_a_job_that_exceeds_its_memory_limit_is_ended_with_the_reason(sandbox: Sandbox, in_child: bool) -> None:
    job = {"type": "Hoards", "meta_name": "hoard", "mib": 300, "in_child": in_child}
    with sandbox.client() as client:
        definition = with_resources(sandbox.definition(job), Resources(memory=LIMIT))
        (row,) = sandbox.wait(client, client.submit_definition(definition)).jobs
    assert row.state == "failed"
    matched = re.match(r"held (\d+) MiB, more than its limit of 256 MiB\nfills its memory", row.error)
    assert matched, row.error
    assert 256 < int(matched[1]) < 400
    assert [each for each in sandbox.processes() if "600" in " ".join(each.cmdline())] == []


def test_a_job_within_its_memory_limit_succeeds(sandbox: Sandbox) -> None:
    job = {"type": "Returns", "meta_name": "job", "value": 1}
    with sandbox.client() as client:
        definition = with_resources(sandbox.definition(job), Resources(memory=LIMIT))
        assert sandbox.wait(client, client.submit_definition(definition)).experiment.state == "succeeded"


def test_a_job_has_as_many_threads_as_cpus(sandbox: Sandbox) -> None:
    job = {"type": "Environ", "meta_name": "job", "names": ["OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"]}
    with sandbox.client() as client:
        for cpus, threads in ((1.0, "1"), (2.0, "2"), (0.5, "1")):
            definition = with_resources(sandbox.definition(job), Resources(cpus=cpus))
            (iteration,) = sandbox.wait(client, client.submit_definition(definition)).iterations
            assert iteration.context_infos["anonymous"][0]["res_0"][0] == threads


def test_a_job_that_asks_for_more_gpus_than_the_machine_has_is_refused(sandbox: Sandbox) -> None:
    too_many = len(this_machine().gpus) + 1
    definition = with_resources(
        sandbox.definition({"type": "Returns", "meta_name": "job", "value": 1}), Resources(gpus=too_many)
    )
    with sandbox.client() as client:
        with pytest.raises(Refused, match=rf"anonymous\.job asks for {too_many} gpus, and this machine has"):
            client.submit_definition(definition)
        assert client.experiments() == []


def test_a_worker_killed_by_the_oom_killer_is_reported_as_such(sandbox: Sandbox, tmp_path: Path) -> None:
    groups = [folder for folder in cgroups("memory") if os.access(folder / "cgroup.procs", os.W_OK)]
    own = groups[0] / f"sandbox-test-{os.getpid()}" if groups else None
    names = ("memory.max", "memory.limit_in_bytes")
    try:
        if own is not None:
            own.mkdir()
        limit = next((own / name for name in names if own is not None and (own / name).exists()), None)
        if own is None or limit is None:
            pytest.skip("no control group with a memory limit can be created here")
        limit.write_text(str(64 * 1024**2))
        job = {"type": "Hoards", "meta_name": "hoard", "mib": 300, "group": str(own / "cgroup.procs")}
        (row,) = sandbox.run(job).jobs
        assert re.search(r"was ended by SIGKILL by the kernel.s OOM killer \(the memory limit here is", row.error)
        assert "fills its memory" in row.error
    finally:
        if own is not None and own.exists():
            while (own / "cgroup.procs").read_text():
                time.sleep(0.01)
            own.rmdir()


def test_with_too_few_file_descriptors_a_worker_is_refused_and_nothing_else_happens(sandbox: Sandbox) -> None:
    assert sandbox.daemon is not None
    pid, job = sandbox.daemon.pid, {"type": "Returns", "meta_name": "job", "value": 1}
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with sandbox.client() as client:  # connected before the limit is lowered: a later connection might be refused too
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) + 3, limits[1]))
        (refused,) = sandbox.wait(client, client.submit_definition(sandbox.definition(job))).jobs
        assert "RLIMIT_NOFILE" in refused.error
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert sandbox.run(job).experiment.state == "succeeded"
