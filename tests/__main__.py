"""`python3 -m tests`: the whole check, from a fresh clone. Other arguments go to pytest: `python3 -m tests -k pool`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from sandbox_actors.bootstrap import NEWEST_VARIABLE, OLDEST, ROOT, prepare

USAGE = """usage: python3 -m tests [--unit | --long | --newest] [pytest arguments]

  (nothing)   the whole check: format, lint, types, every test
  --unit      the tests that start no process and need no env, in parallel: half a minute
  --long      the whole check with the long form of each test, and the unit tests on every Python that is found
  --newest    the whole check with the newest version of everything, instead of those in configs/locks
"""

UNIT = ("pytest", "-m", "unit", "--numprocesses", "auto")

LONG = {
    "SANDBOX_CHAOS_KILLS": "1000",
    "SANDBOX_CRASH_POINTS": "all",
    "SANDBOX_INJECTIONS": "all",
    "SANDBOX_TEST_RUNS": "100",
}
"""What some tests read: how often they do what they do."""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--help"]:
        print(USAGE, end="")
        return 0
    mode = arguments.pop(0) if arguments[:1] in (["--unit"], ["--long"], ["--newest"]) else ""
    if mode == "--newest":
        os.environ[NEWEST_VARIABLE] = "1"
    if mode == "--long":
        os.environ.update(LONG)
    programs = prepare("dev").parent
    if mode == "--unit":
        return _run(programs, *UNIT, *arguments)
    if arguments:
        return _run(programs, "pytest", *arguments)
    checks = (("ruff", "format", "--check"), ("ruff", "check"), ("mypy",), ("pytest", "--durations=10"))
    failed = [" ".join(check) for check in checks if _run(programs, *check)]
    if mode == "--long":
        failed += [version for version, python in other_pythons().items() if _run_units(version, python)]
    print(f"failed: {', '.join(failed)}" if failed else "all is well", flush=True)
    return 1 if failed else 0


def other_pythons() -> dict[str, str]:
    """By version, the other Pythons on this machine that are new enough: on the PATH, or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found: dict[str, str] = {}
    for minor in range(OLDEST[1], OLDEST[1] + 10):
        version = f"3.{minor}"
        candidates = [
            shutil.which(f"python{version}"),
            *map(str, sorted(pyenv.glob(f"{version}.*/bin/python{version}"))),
        ]
        if version != ".".join(map(str, sys.version_info[:2])):
            runs = next((each for each in candidates if each and _runs(each)), None)
            found |= {version: runs} if runs else {}
    return found


def _runs(python: str) -> bool:
    """Whether it is a Python that can make a venv, and not a shim of one that is not selected."""
    return subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode == 0


def _run_units(version: str, python: str) -> int:
    try:
        programs = prepare("dev", ROOT / f".venv-{version}", python).parent
    except SystemExit as failed:  # the other Pythons still have their turn
        print(failed, flush=True)
        return 1
    return _run(programs, *UNIT)


def _run(programs: Path, *command: str) -> int:
    """Run one program of the venv in the project's root; its exit status."""
    print(f"--- {' '.join(command)}", flush=True)
    started = time.monotonic()
    environ = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    status = subprocess.run([programs / command[0], *command[1:]], cwd=ROOT, env=environ, check=False).returncode
    print(f"--- {command[0]}: status {status} after {time.monotonic() - started:.0f} s", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
