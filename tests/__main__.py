"""`python3 -m tests`: the whole check, from a fresh clone. Arguments go to pytest: `python3 -m tests -k pool`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from sandbox_actors.bootstrap import ROOT, prepare


def main(arguments: list[str]) -> int:
    programs = prepare("dev").parent
    if arguments:
        return _run(programs, "pytest", *arguments)
    checks = (("ruff", "format", "--check"), ("ruff", "check"), ("mypy",), ("pytest", "--durations=10"))
    failed = [" ".join(check) for check in checks if _run(programs, *check)]
    print(f"failed: {', '.join(failed)}" if failed else "all is well", flush=True)
    return 1 if failed else 0


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
