"""Builds are shared by those who wait, end with the last of them, and are not joined when they end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from envs.specs import EnvSpec
from sandbox_actors.actors.environments import Build, Environments
from sandbox_actors.errors import EnvError
from sandbox_actors.protocol.rows import ProgressBar

SPEC = EnvSpec(name="own", deps=("six",))


class HeldEnvironments(Environments):
    """Its builds continue until the test makes them fail: no builder is started."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, {})
        self.builds: list[Build] = []
        self.fail = trio.Event()

    async def _build(self, build: Build) -> None:
        self.builds.append(build)
        with build.cancel:
            await self.fail.wait()
            build.failure = "no such package"
        self._forget(build)
        build.done.set()


@asynccontextmanager
async def environments(root: Path) -> AsyncIterator[HeldEnvironments]:
    made = HeldEnvironments(root)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


def ignore(bar: ProgressBar) -> None:
    return None


async def wait(envs: Environments, scope: trio.CancelScope, failures: list[str]) -> None:
    def on_progress(bar: ProgressBar) -> None:
        return None

    with scope:
        try:
            await envs.ensure(SPEC, on_progress)
        except EnvError as error:
            failures.append(str(error))


async def started(envs: HeldEnvironments, count: int) -> None:
    while len(envs.builds) < count or any(not build.waiting for build in envs.builds[-1:]):
        await trio.testing.wait_all_tasks_blocked()


async def test_all_who_need_an_env_share_its_build(tmp_path: Path) -> None:
    failures: list[str] = []
    async with environments(tmp_path) as envs, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait, envs, trio.CancelScope(), failures)
        while not envs.builds or len(envs.builds[0].waiting) < 3:
            await trio.testing.wait_all_tasks_blocked()
        envs.fail.set()
    assert len(envs.builds) == 1
    assert failures == ["no such package"] * 3


async def test_a_build_goes_on_while_one_waits_and_ends_with_the_last(tmp_path: Path) -> None:
    failures: list[str] = []
    first, second = trio.CancelScope(), trio.CancelScope()
    async with environments(tmp_path) as envs, trio.open_nursery() as nursery:
        nursery.start_soon(wait, envs, first, failures)
        nursery.start_soon(wait, envs, second, failures)
        while not envs.builds or len(envs.builds[0].waiting) < 2:
            await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not envs.builds[0].cancel.cancel_called
        second.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert envs.builds[0].cancel.cancel_called
    assert failures == []


async def test_who_comes_when_a_build_is_being_ended_gets_a_new_one(tmp_path: Path) -> None:
    failures: list[str] = []
    leaves = trio.CancelScope()
    async with environments(tmp_path) as envs, trio.open_nursery() as nursery:
        nursery.start_soon(wait, envs, leaves, failures)
        await started(envs, 1)
        leaves.cancel()
        nursery.start_soon(wait, envs, trio.CancelScope(), failures)
        await started(envs, 2)
        envs.fail.set()
    assert [build.cancel.cancel_called for build in envs.builds] == [True, False]
    assert failures == ["no such package"]


async def test_a_spec_whose_files_are_missing_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    spec = EnvSpec(name="own", deps=(str(tmp_path / "missing"),))
    async with environments(tmp_path) as envs:
        with pytest.raises(EnvError, match="does not exist"):
            await envs.ensure(spec, ignore)
        assert envs.builds == []
