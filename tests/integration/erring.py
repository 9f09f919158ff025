"""A daemon with an error of its own: `erring.py MODULE:FUNCTION TRIGGER`. The function, or method, raises once for each
file TRIGGER that is made."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from sandbox_actors.daemon.main import main as daemon


def main(target: str, trigger: str) -> int:
    module, _, path = target.partition(":")
    *kind, method = path.split(".")
    owner: Any = functools.reduce(getattr, kind, importlib.import_module(module))
    original = getattr(owner, method)

    def fail() -> None:
        try:
            Path(trigger).unlink()
        except FileNotFoundError:
            return
        raise RuntimeError("an error that nobody has foreseen")

    @functools.wraps(original)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        fail()
        return await original(*arguments, **named)

    @functools.wraps(original)
    def wrapped_sync(*arguments: Any, **named: Any) -> Any:
        fail()
        return original(*arguments, **named)

    setattr(owner, method, wrapped if inspect.iscoroutinefunction(original) else wrapped_sync)
    return daemon([])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
