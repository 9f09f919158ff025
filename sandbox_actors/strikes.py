"""How often a peer may break the protocol before it costs the connection."""

from __future__ import annotations

from collections import deque

STRIKES = 10
WITHIN = 60.0
"""So many malformed messages in so many seconds are too many."""


class Strikes:
    """The malformed messages of one peer."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=STRIKES)

    def add(self, now: float) -> bool:
        """One more; whether they are too many."""
        self._times.append(now)
        return len(self._times) == STRIKES and now - self._times[0] <= WITHIN
