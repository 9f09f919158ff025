"""Experiments on data and models, run by a daemon whose component actors stay warm.

Importing this package costs nothing: `Client` is loaded when it is used, because the same package is also imported
inside component envs, where only pyzmq and msgspec are to be had.
"""

from typing import TYPE_CHECKING, Any

from sandbox_actors.version import __version__

if TYPE_CHECKING:
    from sandbox_actors.client.client import Client

__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from sandbox_actors.client.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
