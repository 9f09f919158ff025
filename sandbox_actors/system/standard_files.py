"""Standard input, output and error of a process that was started without some of them, or that cannot write there."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def open_standard_files() -> None:
    """Open /dev/null in place of each of the descriptors 0 to 2 that is closed.

    Otherwise the next file to be opened, such as a socket or the store, gets the number, and whatever is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False, encoding="utf-8"))  # noqa: SIM115


def silence(stream: TextIO) -> None:
    """Let `stream` end in /dev/null, with what it could not write so far: else Python reports that again at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
