"""Programs that become another user, which only root can."""

from __future__ import annotations

STRANGER = 54321
"""A user id that is on no list of users."""

NEEDS_ROOT = "only root can become another user: run the tests as root"


def becoming(uid: int = STRANGER) -> str:
    """The lines of Python by which a program gives up being root. It imports what it needs before, as the other user
    may not be able to read this Python."""
    return f"import os\nos.setgroups([])\nos.setgid({uid})\nos.setuid({uid})\n"
