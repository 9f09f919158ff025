"""The environment variables of the processes in an env, and of the installers.

They contain nothing of the host's Python environment: neither what a shell has activated, nor what would make the
env's python look for modules elsewhere or write no byte code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

LEAKS = frozenset(
    {
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONEXECUTABLE",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONPLATLIBDIR",
        "PYTHONPYCACHEPREFIX",
        "PYTHONSAFEPATH",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "VIRTUAL_ENV",
        "VIRTUAL_ENV_PROMPT",
        "__PYVENV_LAUNCHER__",
        "_CE_CONDA",
        "_CE_M",
        "PIP_PREFIX",
        "PIP_PYTHON",
        "PIP_REQUIRE_VIRTUALENV",
        "PIP_TARGET",
        "PIP_USER",
        "UV_PROJECT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_VENV_CLEAR",
        "UV_VENV_SEED",
        "UV_WORKING_DIR",
    }
)
ACTIVATION = ("CONDA_DEFAULT_ENV", "CONDA_EXE", "CONDA_PREFIX", "CONDA_PROMPT", "CONDA_PYTHON_EXE", "CONDA_SHLVL")
"""Variables that `conda activate` sets. The other CONDA_ variables are settings, which conda itself may read."""

_SAME = {"PIP_INDEX_URL": "UV_INDEX_URL", "PIP_NO_INDEX": "UV_NO_INDEX", "PIP_DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT"}
_LISTS = {"PIP_EXTRA_INDEX_URL": ("UV_EXTRA_INDEX_URL", " "), "PIP_FIND_LINKS": ("UV_FIND_LINKS", ",")}
_LISTS |= {"PIP_CONSTRAINT": ("UV_CONSTRAINT", " "), "PIP_TRUSTED_HOST": ("UV_INSECURE_HOST", " ")}


def worker_environ(prefix: Path, host: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a process in the env at `prefix`: those of the host without its Python environment, and the
    programs of the env first on PATH."""
    host = os.environ if host is None else host
    environ = {name: value for name, value in host.items() if name not in LEAKS and not name.startswith("CONDA_")}
    environ["PATH"] = os.pathsep.join([str(prefix / "bin"), *_path(host)])
    environ["PYTHONNOUSERSITE"] = "1"
    return environ


def tool_environ(host: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of an env manager or installer. pip's settings of indexes and certificates apply to uv too, unless
    uv has its own."""
    host = os.environ if host is None else host
    environ = {name: value for name, value in host.items() if name not in LEAKS and not name.startswith(ACTIVATION)}
    environ["PATH"] = os.pathsep.join(_path(host))
    for pip, uv in _SAME.items():
        if pip in environ:
            environ.setdefault(uv, environ[pip])
    for pip, (uv, separator) in _LISTS.items():
        if pip in environ and uv not in environ:
            environ[uv] = separator.join(environ[pip].split())
            if pip == "PIP_EXTRA_INDEX_URL":  # pip takes the best version of all indexes, uv by default does not
                environ.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if "PIP_CERT" in environ:
        environ.setdefault("SSL_CERT_FILE", environ["PIP_CERT"])
    return environ


def _path(host: Mapping[str, str]) -> list[str]:
    """PATH without the programs of the env that is active here, or that this process runs in."""
    own = {os.path.join(host[name], "bin") for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if host.get(name)}
    if sys.prefix != sys.base_prefix:
        own.add(os.path.join(sys.prefix, "bin"))
    return [folder for folder in host.get("PATH", os.defpath).split(os.pathsep) if folder and folder not in own]
