"""Isolated Python environments: named ones, as in Data-Juicer Sandbox (`ENV_ROUTER`), and ones built from specs.

The names below are imported when they are used: reading a spec does not import what builds envs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.base import Env
    from envs.conda import CondaEnv
    from envs.router import ENV_ROUTER
    from envs.specs import EnvSpec, load_spec
    from envs.virtual import VirtualEnv

__all__ = ["ENV_ROUTER", "CondaEnv", "Env", "EnvSpec", "VirtualEnv", "load_spec"]

_MODULES = {
    "ENV_ROUTER": "router",
    "CondaEnv": "conda",
    "Env": "base",
    "EnvSpec": "specs",
    "VirtualEnv": "virtual",
    "load_spec": "specs",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"envs.{_MODULES[name]}"), name)
