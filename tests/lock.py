"""`python3 -m tests.lock`: write down the versions that are tested, in `configs/locks/`.

A lock is a constraints file for one env: the newest versions on the day that fit each other, for every Python from the
oldest that the sandbox supports. `base` is the sandbox's own `.venv` with its extras; the others are named like the
specs in `configs/envs/`. Run the whole check afterwards, and commit the locks with what it needed.
"""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from sandbox_actors.bootstrap import OLDEST, ROOT, prepare

LOCKS = ROOT / "configs" / "locks"

OF_THE_BUILD = re.compile(r"(nvidia|cuda|triton)\b")
"""Packages that a build of torch for GPUs pins itself, and that a build for CPUs does not want."""


ELSEWHERE = re.compile(r"; [^=]*== '(win32|nt|emscripten|pypy)'")
"""Packages that only other systems need."""


def main(names: list[str]) -> int:
    """Write the locks of these names, of all without any. Exit status 1 if one could not be resolved."""
    uv = prepare("dev").parent / "uv"
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

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    base = [*project["dependencies"], *extras]
    return {"base": base, **{name: [*load_spec(name).deps, *WORKER_DEPS] for name in spec_names()}}


def _resolve(uv: Path, requirements: list[str]) -> list[str] | None:
    """The versions, as lines of a constraints file; None, having said why, where there are none."""
    oldest = ".".join(map(str, OLDEST))
    command = [uv, "pip", "compile", "--universal", "--python-version", oldest, "--no-header", "--no-annotate", "-"]
    done = subprocess.run(command, input="\n".join(requirements), capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip(), flush=True)
        return None
    lines = [re.sub(r"\+[\w.]+", "", line) for line in done.stdout.splitlines() if "==" in line]
    return [line for line in lines if not OF_THE_BUILD.match(line) and not ELSEWHERE.search(line)]


if __name__ == "__main__":
    python = prepare("dev")
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), "-m", "tests.lock", *sys.argv[1:]])
    sys.exit(main(sys.argv[1:]))
