from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest
import trio

from sandbox_actors.system.child_process import ChildProcess, SpawnFailed, adopt, spawn, started_at
from sandbox_actors.system.process_tree import find_descendants

pytestmark = pytest.mark.real

PRELUDE = "import os, subprocess, sys, time\n"


async def start(nursery: trio.Nursery, tmp_path: Path, code: str, secret: str = "") -> ChildProcess:
    command = [sys.executable, "-u", "-c", PRELUDE + code]
    name = f"{tmp_path.name}-{os.getpid()}"
    return await spawn(nursery, name, command, dict(os.environ), tmp_path / "output.log", secret)


async def printed(child: ChildProcess, text: str) -> None:
    while text not in child.last_lines():
        await trio.lowlevel.checkpoint()


async def test_the_exit_status_and_the_last_lines_are_kept(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        child = await start(nursery, tmp_path, "print('so long'); sys.exit(7)")
        ending = await child.wait()
    assert ending.status == 7
    assert str(ending) == "exited with status 7"
    assert child.last_lines() == "so long"


async def test_an_end_by_a_signal_is_reported_with_its_name(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        child = await start(nursery, tmp_path, "os.kill(os.getpid(), 11)")
        assert str(await child.wait()) == "was ended by SIGSEGV"


async def test_the_secret_is_on_the_lifeline_and_not_in_the_argument_list(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        child = await start(nursery, tmp_path, "print(os.read(int(sys.argv[-1]), 100)); time.sleep(60)", "hunter2")
        await printed(child, "hunter2")
        assert "hunter2" not in " ".join(psutil.Process(child.pid).cmdline())
        await child.end()


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(60)"
    async with trio.open_nursery() as nursery:
        child = await start(nursery, tmp_path, code)
        await printed(child, "deaf")
        assert (await child.end(grace=0.1)).status == -9


GRANDCHILDREN = (
    "subprocess.Popen(['sleep', '61'])\n"
    "subprocess.Popen(['setsid', '-f', 'sleep', '61'])\n"
    "subprocess.run(['env', '-i', 'setsid', '-f', '/bin/sh', '-c', '(/usr/bin/setsid /bin/sleep 61 &)'], check=True)\n"
    "subprocess.Popen(['sh', '-c', 'trap \"\" TERM; sleep 61 & sleep 61'])\n"
    "print('spawned')\n"
)


@pytest.mark.parametrize("fate", ["ended", "ends by itself", "killed"])
async def test_processes_that_a_child_started_end_with_it(tmp_path: Path, fate: str) -> None:
    async with trio.open_nursery() as nursery:
        child = await start(nursery, tmp_path, GRANDCHILDREN + ("" if fate == "ends by itself" else "time.sleep(60)"))
        await printed(child, "spawned")
        if fate == "ended":
            await child.end()
        elif fate == "killed":
            os.kill(child.pid, 9)
    assert child.exit_status is not None
    assert find_descendants(child.pid, child.name) == []


async def test_a_child_whose_nursery_is_cancelled_continues_and_can_be_adopted(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        child = await start(nursery, tmp_path, "print('at work'); time.sleep(60)")
        await printed(child, "at work")
        started = started_at(child.pid)
        nursery.cancel_scope.cancel()
    assert child.exit_status is None
    async with trio.open_nursery() as nursery:
        adopted = adopt(nursery, child.name, child.pid, started, child.output)
        assert adopted is not None
        assert not adopted.has_ended()
        await adopted.end()
    assert not psutil.pid_exists(child.pid)


async def test_a_missing_command_is_an_error_that_names_it(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(SpawnFailed, match="no-such-program"):
            await spawn(nursery, "x", ["no-such-program"], {}, tmp_path / "output.log")


async def test_no_descriptor_is_left(tmp_path: Path) -> None:
    async def once() -> None:
        async with trio.open_nursery() as nursery:
            child = await start(nursery, tmp_path, "pass")
            await child.wait()

    await once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await once()
    assert len(os.listdir("/proc/self/fd")) == before
