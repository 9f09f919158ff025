"""What all tests share: `async def` tests run by trio within a time limit, the component envs, and the marks.

A test is `real` if it lies in `tests/integration`, uses a component env, or is marked so. Every other one is `unit`,
and fails if it starts a process.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import settings

from tests.local_server import FOLDER, LocalServer, serving_locally

ROOT = Path(__file__).parents[1]

settings.register_profile("sandbox", deadline=None, derandomize=True)
settings.load_profile("sandbox")
"""A busy machine must not make a property fail, and a failure must come again."""

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A run in the background of a shell ignores it, and so would every command that a test interrupts."""

ASYNC_TEST_LIMIT = 60.0
"""Seconds. A test that hangs fails instead."""


REAL_FIXTURES = {"shared_envs", "component_env", "local_server"}
"""A test that uses one of these, directly or not, needs an env."""

STARTS_PROCESS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}
"""Audit events of the interpreter."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if item.path.is_relative_to(ROOT / "tests" / "integration") or fixtures & REAL_FIXTURES:
            item.add_marker(pytest.mark.real)
        if item.get_closest_marker("real") is None:
            item.add_marker(pytest.mark.unit)


class ProcessGuard:
    """Raises where a unit test, while one runs, starts a process."""

    def __init__(self) -> None:
        self.unit_test = ""
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.unit_test and event in STARTS_PROCESS:
            raise AssertionError(f"{self.unit_test} starts a process ({event}): mark it `real`")


guard = ProcessGuard()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    guard.unit_test = item.nodeid if item.get_closest_marker("unit") else ""
    try:
        return (yield)
    finally:
        guard.unit_test = ""


@pytest.fixture(scope="session")
def shared_envs() -> Iterator[Path]:
    """The folder in which component envs are built once a test run. SANDBOX_TEST_ENVS names one that is kept."""
    kept = os.environ.get("SANDBOX_TEST_ENVS")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="sandbox-envs-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def component_env(shared_envs: Path) -> Callable[[str], Path]:
    """`component_env("data-juicer")` is the python of that env, built once a test run."""
    return cache(lambda name: _built(name, shared_envs))


def _built(name: str, root: Path) -> Path:
    environ = dict(os.environ)
    environ.setdefault("UV_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", ""))
    command = [sys.executable, "-m", "envs.build_command", "--root", str(root), "--spec", name]
    built = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[1], env=environ, check=False
    )
    last = json.loads(built.stdout.splitlines()[-1]) if built.stdout else {}
    assert last.get("event") == "ready", f"{built.stdout}\n{built.stderr}"
    return Path(last["python"])


@pytest.fixture(scope="session")
def local_server(
    component_env: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    """One for all tests of a run, started when the first of them needs it."""
    with serving_locally(component_env(str(FOLDER / "server.yaml")), tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    trio.run(_within_limit, partial(test, **arguments))
    return True


async def _within_limit(test: Any) -> None:
    with trio.fail_after(ASYNC_TEST_LIMIT):
        await test()
