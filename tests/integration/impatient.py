"""Clients for tests in which the daemon may be broken: none waits without bound, and some leave before their answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sandbox_actors.client.client import Client
from sandbox_actors.client.connection import Connection
from sandbox_actors.protocol.frames import Answer, Request

from .conftest import Sandbox

PATIENCE = 15.0
"""Seconds for an answer, for a machine under load."""


class Unanswered(AssertionError):
    """The daemon is there, and has not answered."""


class ImpatientConnection(Connection):
    """Raises Unanswered where an answer takes longer than `PATIENCE`."""

    _deadline = float("inf")

    def ask(self, request: Request[Answer]) -> Answer:
        self._deadline = time.monotonic() + PATIENCE
        try:
            return super().ask(request)
        except Unanswered:
            raise Unanswered(f"no answer to {str(request)[:200]} within {PATIENCE:g} seconds") from None

    def _has_input(self, seconds: float) -> bool:
        left = max(0.0, self._deadline - time.monotonic())
        if super()._has_input(min(seconds, left)):
            return True
        if left < seconds:
            raise Unanswered
        return False


class ImpatientClient(Client):
    """Never starts a daemon."""

    def __init__(self, place: Sandbox) -> None:
        self.paths = place.paths
        self._may_start = False
        self._connection = ImpatientConnection(place.paths.socket)


@contextmanager
def unanswered(place: Sandbox, *requests: Request[Any]) -> Iterator[None]:
    """The requests are sent, and their client is gone after the block, without having read an answer."""
    connection = Connection(place.paths.socket)
    try:
        for id, request in enumerate(requests, 1):
            connection._send_ask(id, request)
        yield
    finally:
        connection.close()
