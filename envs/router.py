"""Which class makes envs with which manager."""

from __future__ import annotations

from pathlib import Path

from envs.base import Env, Output
from envs.specs import EnvSpec
from envs.virtual import VirtualEnv

ENV_ROUTER: dict[str, type[Env]] = {
    "venv": VirtualEnv,
    "virtualenv": VirtualEnv,
    "uv": VirtualEnv,
}


def env_of(spec: EnvSpec, prefix: Path, output: Output | None = None) -> Env:
    """The env at `prefix` that a spec describes, made or not."""
    return ENV_ROUTER[spec.manager](
        env_name=spec.name,
        env_manager=spec.manager,
        env_config_path=spec.config or None,
        env_py_version=spec.python,
        prefix=prefix,
        output=output,
    )
