"""Which class creates envs with which manager."""

from __future__ import annotations

from pathlib import Path

from envs.base import Env, Output
from envs.conda import CondaEnv
from envs.specs import CONDA_MANAGERS, VIRTUAL_MANAGERS, EnvSpec
from envs.virtual import VirtualEnv

ENV_ROUTER: dict[str, type[Env]] = {
    **dict.fromkeys(CONDA_MANAGERS, CondaEnv),
    **dict.fromkeys(VIRTUAL_MANAGERS, VirtualEnv),
}


def env_of(spec: EnvSpec, prefix: Path, output: Output | None = None) -> Env:
    """The env at `prefix` that a spec describes, whether it exists or not."""
    if spec.manager in VIRTUAL_MANAGERS and not (prefix / "conda-meta").is_dir():
        return VirtualEnv(spec.name, spec.manager, None, spec.python, prefix=prefix, output=output)
    manager = spec.manager if spec.manager in CONDA_MANAGERS else "conda"
    return CondaEnv(
        spec.name,
        manager,
        spec.config or None,
        spec.python,
        packages=spec.packages,
        channels=spec.channels,
        prefix=prefix,
        output=output,
    )
