"""Commands that stop until a test lets them continue, and whether a process has ended."""

from __future__ import annotations

import os
import select
import shlex
from pathlib import Path

import psutil

DEADLINE = 60.0
"""Seconds after which a test fails."""


class Gate:
    """`command` reports that it was reached, and then waits until the gate is opened."""

    def __init__(self, folder: Path) -> None:
        self._reached, self._opened = folder / "reached", folder / "opened"
        for fifo in (self._reached, self._opened):
            os.mkfifo(fifo)
        self._reading = os.open(self._reached, os.O_RDWR)
        self._writing = os.open(self._opened, os.O_RDWR)
        self.command = f"echo $$ > {shlex.quote(str(self._reached))}; read line < {shlex.quote(str(self._opened))}"

    @property
    def stubborn_command(self) -> list[str]:
        """A command that reports that it was reached, reports "ending" on SIGTERM, and then waits for the gate.

        In Python, which can wait for a blocked signal: a shell's trap is not run when the signal comes just before
        its `read`.
        """
        code = (
            "import os, signal, sys\n"
            "def say(word):\n"
            "    with open(sys.argv[1], 'w') as reached: print(word, file=reached)\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
            "say(os.getpid())\n"
            "signal.sigwait({signal.SIGTERM})\n"
            "say('ending')\n"
            "open(sys.argv[2]).read(1)\n"
        )
        return ["python", "-c", code, str(self._reached), str(self._opened)]

    def wait_until_reached(self) -> int:
        """The pid of the shell that has reached the gate."""
        return int(self.wait_for_word())

    def wait_for_word(self) -> str:
        """What a command reports at the gate."""
        ready, _, _ = select.select([self._reading], [], [], DEADLINE)
        assert ready, "the gate was never reached"
        return os.read(self._reading, 100).split()[0].decode()

    def open(self) -> None:
        os.write(self._writing, b"\n")

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)


def has_ended(pid: int) -> bool:
    """Whether no process has that pid; a zombie counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
