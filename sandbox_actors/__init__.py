"""Experiments on data and models, run by a daemon whose component actors stay warm.

Importing this package costs nothing: the names below are loaded when they are used, because the same package is
also imported inside component envs, where only pyzmq and msgspec are to be had.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox_actors.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from sandbox_actors.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
