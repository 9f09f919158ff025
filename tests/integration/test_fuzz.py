"""A million malformed messages to both sockets of a real daemon do it no harm.

SANDBOX_FUZZ sets another number of messages, SANDBOX_FUZZ_SEED another seed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from sandbox_actors.errors import SandboxError

from .conftest import Sandbox

COUNT = int(os.environ.get("SANDBOX_FUZZ", "1000000"))
SEED = int(os.environ.get("SANDBOX_FUZZ_SEED", "7"))
ALLOWANCE = 32 * 1024 * 1024

JOB = {"meta_name": "job", "type": "Returns", "value": 7}


def test_malformed_messages_neither_crash_the_daemon_nor_cost_memory_nor_delay_clients(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sandbox.run(dict(JOB)).experiment.state == "succeeded"
    assert sandbox.daemon is not None
    daemon = psutil.Process(sandbox.daemon.pid)
    with sandbox.client() as client:
        for _ in range(200):
            client.status()
        before, files = daemon.memory_info().rss, daemon.num_fds()
        fuzzers = [
            fuzz(path, SEED + number) for number, path in enumerate((sandbox.paths.socket, sandbox.paths.worker_socket))
        ]
        waits, peak, started = [], before, time.monotonic()
        while any(fuzzer.poll() is None for fuzzer in fuzzers):
            asked = time.perf_counter()
            assert client.status().pid == daemon.pid
            waits.append(time.perf_counter() - asked)
            peak = max(peak, daemon.memory_info().rss)
            time.sleep(0.002)  # poll as a client does, without flooding the daemon
        seconds = time.monotonic() - started
        assert {worker.state for worker in client.workers()} == {"idle"}
    outputs = [fuzzer.communicate()[0].strip() for fuzzer in fuzzers]
    assert [fuzzer.returncode for fuzzer in fuzzers] == [0, 0], outputs
    assert peak - before < ALLOWANCE
    assert daemon.num_fds() <= files
    again = sandbox.run(dict(JOB))
    assert again.experiment.state == "succeeded"
    assert again.jobs[0].warm
    waits.sort()
    with capsys.disabled():
        grown = (peak - before) / 2**20
        print(
            f"\n{COUNT} malformed messages in {seconds:.0f} s; a client waited {waits[len(waits) // 2] * 1e3:.1f} ms "
            f"(p50), {waits[int(len(waits) * 0.99)] * 1e3:.1f} ms (p99); memory grew by {grown:.1f} MiB"
        )


def fuzz(path: Path, seed: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fuzzer.py")), str(path), str(seed), str(COUNT // 2)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.mark.parametrize("size", [1 << 20, 15 << 20])
def test_a_submission_that_is_large_when_decoded_is_refused(served: Sandbox, size: int) -> None:
    assert served.daemon is not None
    daemon = psutil.Process(served.daemon.pid)
    maps = msgspec.Raw(b"\xdd" + size.to_bytes(4, "big") + b"\x80" * size)
    with served.client() as client:
        client.status()
        before = daemon.memory_info().rss
        with pytest.raises(SandboxError, match="of memory, and the limit is"):
            client.submit_definition(maps)
        assert daemon.memory_info().rss - before < ALLOWANCE
        assert client.status().experiments == 0
