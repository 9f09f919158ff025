"""`python3 -m tests.lock`: write down the versions that are tested, in `configs/locks/`.

A lock is a constraints file for one env: the newest versions on the day that fit each other, for every Python from the
oldest that the sandbox supports. `base` is the sandbox's own `.venv` with its extras and what builds it; the others are
named like their specs. Run the whole check afterwards, and commit the locks with the changes that it needed.
"""

from __future__ import annotations

import datetime
import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from sandbox_actors.bootstrap import OLDEST, ROOT, prepare

LOCKS = ROOT / "configs" / "locks"

OTHER_SPECS = [ROOT / "configs" / "auto_prompt_optimization" / "server.yaml"]
"""Specs outside of `configs/envs/` that name a lock."""

OF_THE_BUILD = re.compile(r"(nvidia|cuda|triton)\b")
"""Packages that a build of torch for GPUs pins itself, and that a build for CPUs does not need."""

TARGETS = [
    {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.0", "platform_machine": machine}
    | {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"}
    | {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    for minor in range(OLDEST[1], OLDEST[1] + 10)
    for machine in ("x86_64", "aarch64")
]
"""Where the sandbox runs, in the words of environment markers."""


def main(names: list[str]) -> int:
    """Write the locks of these names, of all without any. Exit status 1 if one could not be resolved."""
    uv = Path(sys.prefix, "bin", "uv")
    failed = []
    for name, requirements in _all_requirements().items():
        if names and name not in names:
            continue
        print(f"{name}: ", end="", flush=True)
        locked = _resolve(uv, requirements)
        if locked is None:
            failed.append(name)
            continue
        LOCKS.mkdir(exist_ok=True)
        day = datetime.date.today().isoformat()
        text = f"# Versions that were tested. Written by `python3 -m tests.lock` on {day}.\n"
        (LOCKS / f"{name}.txt").write_text(text + "".join(f"{line}\n" for line in locked), encoding="utf-8")
        print(f"{len(locked)} packages", flush=True)
    print(f"not resolved: {', '.join(failed)}" if failed else f"all locks are in {LOCKS.relative_to(ROOT)}")
    return 1 if failed else 0


def _all_requirements() -> dict[str, list[str]]:
    """What each env asks for, by the name of its lock."""
    from envs.builder import WORKER_DEPS
    from envs.specs import load_spec, spec_names

    specs = [load_spec(name) for name in (*spec_names(), *map(str, OTHER_SPECS))]
    return {"base": base_requirements(), **{spec.name: [*spec.deps, *WORKER_DEPS] for spec in specs}}


def base_requirements() -> list[str]:
    """What the sandbox itself requires: to run, for its extras, and to be built."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    return [*project["project"]["dependencies"], *itertools.chain(*extras), *project["build-system"]["requires"]]


def _resolve(uv: Path, requirements: list[str]) -> list[str] | None:
    """The versions, as lines of a constraints file; None, after printing the reason, if there are none."""
    oldest = ".".join(map(str, OLDEST))
    command = [uv, "pip", "compile", "--universal", "--python-version", oldest, "--no-header", "--no-annotate", "-"]
    done = subprocess.run(command, input="\n".join(requirements), capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip(), flush=True)
        return None
    return constraints(done.stdout)


def constraints(resolved: str) -> list[str]:
    """The lines of a lock, of what the resolver printed: names and versions, of the packages that Linux needs."""
    lines = [re.sub(r"\+[\w.]+", "", line) for line in resolved.splitlines() if "==" in line]
    return [line for line in lines if not OF_THE_BUILD.match(line) and _is_needed(line.partition(" ; ")[2])]


def _is_needed(marker: str) -> bool:
    from packaging.markers import Marker  # not on a bare Python, which only starts that of the `.venv`

    return not marker or any(Marker(marker).evaluate(target) for target in TARGETS)


if __name__ == "__main__":
    python = prepare("dev")
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), "-m", "tests.lock", *sys.argv[1:]])
    sys.exit(main(sys.argv[1:]))
