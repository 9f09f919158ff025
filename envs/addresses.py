"""Addresses of indexes and repositories, which may contain passwords."""

from __future__ import annotations

import re


def without_passwords(text: str) -> str:
    """The text, with the user and the password in each of its addresses masked."""
    return re.sub(r"://[^/@\s'\"]+@", "://***@", text)
