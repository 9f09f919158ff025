"""What all tests share: `async def` tests run by trio, each within a time limit of its own, and the component envs."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

ASYNC_TEST_LIMIT = 60.0
"""Seconds. A test that hangs fails instead."""


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
