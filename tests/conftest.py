"""What all tests share: `async def` tests run by trio, each within a time limit of its own."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import pytest
import trio

ASYNC_TEST_LIMIT = 60.0
"""Seconds. A test that hangs fails instead."""


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
