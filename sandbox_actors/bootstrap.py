"""From a fresh clone to a Python that has what this project needs: `.venv` beside `pyproject.toml`, made on first use.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)


def is_installed() -> bool:
    """Whether this very Python has the project, by whatever way it came there."""
    try:
        importlib.metadata.distribution("sandbox-actors")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def prepare(extra: str = "") -> Path:
    """The python of `.venv`, which has the project and `extra`: installed now, where that has not been done.

    Safe when two do it at once. Exits with a message where the machine lacks something.
    """
    if sys.version_info < OLDEST:
        have, need = (".".join(map(str, version)) for version in (sys.version_info[:2], OLDEST))
        sys.exit(f"sandbox-actors needs Python {need} or newer; this is {have} ({sys.executable})")
    venv = ROOT / ".venv"
    python = venv / "bin" / "python"
    stamp = venv / f"installed{'-' + extra if extra else ''}"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    with open(ROOT / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
            _install(venv, python, f"{ROOT}[{extra}]" if extra else str(ROOT))
            stamp.write_text(wanted)
    return python


def _install(venv: Path, python: Path, project: str) -> None:
    print(f"first use: setting up {venv}, which takes about half a minute", file=sys.stderr, flush=True)
    if not python.exists():
        shutil.rmtree(venv, ignore_errors=True)
        made = [sys.executable, "-m", "venv", str(venv)]
        _run(made, "on Debian and Ubuntu, `apt install python3-venv` gives Python what it lacks for this")
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    _run([str(python), "-m", "pip", "install", *quiet, "--editable", project], "are the package registries reachable?")


def _run(command: Sequence[str], hint: str) -> None:
    """Run one command of the set-up, its output on stderr. Exits with what failed."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    status = subprocess.run(command, stdout=sys.stderr, env=environ, check=False).returncode
    if status:
        sys.exit(f"failed with status {status}: {' '.join(command)}\n{hint}")
