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
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)

LOCK = ROOT / "configs" / "locks" / "base.txt"
"""The versions that were tested, as pip takes constraints."""

NEWEST_VARIABLE = "SANDBOX_NEWEST"
"""`1` takes the newest version of everything, here and in component envs, instead of those that were tested."""


def is_installed() -> bool:
    """Whether this very Python has the project, by whatever way it came there."""
    try:
        importlib.metadata.distribution("sandbox-actors")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def wants_newest() -> bool:
    return os.environ.get(NEWEST_VARIABLE, "") not in ("", "0")


def prepare(extra: str = "", venv: Path | None = None, base: str = sys.executable) -> Path:
    """The python of `venv`, which has the project and `extra`: installed now, where that has not been done.

    By default `.venv`, or `.venv-newest` if the newest versions are wanted. `base` is the Python that it is made with.
    Safe when two processes call it at once. Exits with a message if the machine lacks something.
    """
    if sys.version_info < OLDEST:
        have, need = (".".join(map(str, version)) for version in (sys.version_info[:2], OLDEST))
        sys.exit(f"sandbox-actors needs Python {need} or newer; this is {have} ({sys.executable})")
    venv = venv or ROOT / (".venv-newest" if wants_newest() else ".venv")
    python = venv / "bin" / "python"
    stamp = venv / f"installed{'-' + extra if extra else ''}"
    locks = [] if wants_newest() else [LOCK]
    sources = (ROOT / "pyproject.toml", *locks)
    content = b"".join(path.read_bytes() for path in sources)
    with open(ROOT / f"{venv.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (python.exists() and stamp.exists() and stamp.read_text() == _digest(content, python)):
            _install(venv, base, f"{ROOT}[{extra}]" if extra else str(ROOT), locks)
            stamp.write_text(_digest(content, python))
    return python


def _digest(content: bytes, python: Path) -> str:
    """Changes with what is installed, and with the Python below the venv, which may be upgraded in place."""
    return hashlib.sha256(content + os.fsencode(python.resolve())).hexdigest()


def _install(venv: Path, base: str, project: str, locks: Sequence[Path]) -> None:
    print(f"first use: setting up {venv}, which takes about half a minute", file=sys.stderr, flush=True)
    python = venv / "bin" / "python"
    if not python.exists():
        shutil.rmtree(venv, ignore_errors=True)
        made = [base, "-m", "venv", str(venv)]
        _run(made, "on Debian and Ubuntu, `apt install python3-venv` gives Python what it lacks for this")
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    hint = f"are the package registries reachable? {NEWEST_VARIABLE}=1 ignores the versions in {LOCK.relative_to(ROOT)}"
    # By variables, which also constrain what builds the project: the first in an older pip, the second in a newer one.
    # By URL, because pip splits them at spaces.
    names = ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT") if locks else ()
    given = {name: " ".join([*os.environ.get(name, "").split(), *(lock.as_uri() for lock in locks)]) for name in names}
    _run([str(python), "-m", "pip", "install", *quiet, "--editable", project], hint, given)


def _run(command: Sequence[str], hint: str, variables: Mapping[str, str] | None = None) -> None:
    """Run one command of the set-up, its output on stderr. Exits with a message if it fails."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    environ |= variables or {}
    status = subprocess.run(command, stdout=sys.stderr, env=environ, check=False).returncode
    if status:
        sys.exit(f"failed with status {status}: {' '.join(command)}\n{hint}")
