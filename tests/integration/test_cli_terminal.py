"""The `sandbox` command in a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import struct
from fcntl import ioctl
from termios import TIOCSWINSZ

from .commands import COMMAND, environ_of, sandbox, training, write
from .conftest import Sandbox


class Terminal:
    """A command in a pseudo-terminal; `screen` is everything that it has written."""

    def __init__(self, place: Sandbox, *arguments: str, columns: int = 80, **environ: str) -> None:
        self.screen = ""
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(place.cwd)
            os.execve(COMMAND[0], [*COMMAND, *arguments], {**environ_of(place), "TERM": "xterm-256color", **environ})
        ioctl(self._descriptor, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read_until(self, wanted: str) -> None:
        while wanted not in self.screen:
            self.screen += os.read(self._descriptor, 65536).decode()

    def end(self) -> int:
        """Read the rest of the output; the exit status."""
        try:
            while data := os.read(self._descriptor, 65536):
                self.screen += data.decode(errors="replace")
        except OSError:
            pass  # on Linux, this is how the end is reported
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_run_in_a_terminal_shows_the_loss_live_and_ends_with_the_tables(served: Sandbox) -> None:
    gate = served.cwd / "live.gate"
    file = write(served, "live", baseline=[training(gate=str(gate), steps=9)], refined=[training(steps=9)])
    terminal = Terminal(served, "run", file, NO_COLOR="")
    terminal.read_until("step 8")
    assert "█" in terminal.screen
    gate.touch()
    assert terminal.end() == 0
    live, final = terminal.screen.rsplit("experiment", 1)
    assert "\x1b[" in live
    assert re.search(r"seconds.* +[\d.]+ +[\d.]+", final)
    assert "[0:0" not in terminal.screen


def test_no_color_switches_colours_off(served: Sandbox) -> None:
    sandbox(served, "run", "-q", write(served, "colours", one=[training(steps=40)]))
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38)[;m]")
    plain = Terminal(served, "metrics", "@", "loss", NO_COLOR="1")
    assert plain.end() == 0
    assert not colour.search(plain.screen)
    environ = {name: value for name, value in served.environ.items() if name != "NO_COLOR"}
    served.environ, before = environ, served.environ
    try:
        coloured = Terminal(served, "metrics", "@", "loss")
        assert coloured.end() == 0
    finally:
        served.environ = before
    assert colour.search(coloured.screen)
    assert "one.train.loss" in coloured.screen
    assert re.search("[\u2801-\u28ff]", coloured.screen)
