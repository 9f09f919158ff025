"""Isolated Python environments: named ones, as in the seed (`ENV_ROUTER`), and ones built from specs (`EnvSpec`)."""

from envs.base import Env
from envs.conda import CondaEnv
from envs.router import ENV_ROUTER
from envs.specs import EnvSpec, load_spec
from envs.virtual import VirtualEnv

__all__ = ["ENV_ROUTER", "CondaEnv", "Env", "EnvSpec", "VirtualEnv", "load_spec"]
