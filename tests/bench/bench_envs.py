"""The time to build and use envs: `python tests/bench/bench_envs.py`. Prints the best of a few tries, in seconds.

The most important figures: an env with pyzmq and msgspec by uv with a warm cache (goal: under 1 s), a built spec
found again (under 0.02 s), `install_py_deps` with nothing to do (under 0.1 s).
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from envs.base import Env
from envs.builder import build, find_built
from envs.router import env_of
from envs.specs import VIRTUAL_MANAGERS, EnvSpec

TRIES = 3


def best(action: Callable[[], object], tries: int = TRIES) -> float:
    times = []
    for _ in range(tries):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def show(what: str, seconds: float, goal: float | None = None) -> None:
    verdict = "" if goal is None else f"   goal {goal:g}: {'met' if seconds < goal else 'MISSED'}"
    print(f"{what:<55} {seconds:8.4f}{verdict}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for manager in VIRTUAL_MANAGERS:
            if manager == "virtualenv" and importlib.util.find_spec("virtualenv") is None:
                print("virtualenv is not installed")
                continue
            specs = [EnvSpec(name=f"{manager}{number}", manager=manager) for number in range(TRIES + 1)]
            build(specs.pop(), root)  # warms the cache
            seconds = best(lambda: build(specs.pop(), root))  # noqa: B023
            show(f"env with pyzmq and msgspec by {manager}", seconds, 1.0 if manager == "uv" else None)
        spec = EnvSpec(name="uv0", manager="uv")
        ready = build(spec, root)
        show("a built spec found again", best(lambda: find_built(spec, root)), 0.02)
        env = env_of(spec, Path(ready.path), output=lambda _: None)
        measure_installing(env, root)
        show("a command in the env (true)", best(lambda: env.run_cmd(["true"])))


def measure_installing(env: Env, root: Path) -> None:
    packages = ["six", "iniconfig", "sniffio"]
    requirements = root / "requirements.txt"
    requirements.write_text("".join(f"{line}\n" for line in packages))
    show("install_py_deps, three small packages", best(lambda: env.install_py_deps(packages), 1))
    show("install_py_deps of a list, satisfied", best(lambda: env.install_py_deps(packages)), 0.1)
    env.install_py_deps(requirements)
    show("install_py_deps of a file, satisfied", best(lambda: env.install_py_deps(requirements)), 0.1)
    subset = ["six", "sniffio"]
    show("install_py_deps of a new list, satisfied", best(lambda: env.install_py_deps(subset), 1), 0.1)


if __name__ == "__main__":
    main()
